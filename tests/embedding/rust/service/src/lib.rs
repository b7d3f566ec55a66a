//! A `wasi:http` component that imports the resolver.

#[path = "../../facts.rs"]
mod facts;

wit_bindgen::generate!({
    inline: "package entail:service; world service { import entail:policy/resolver@0.2.0; }",
    path: "../../../../wit/policy.wit",
    generate_all,
});

use std::io::{Read, Write};

use entail::policy::resolver;
use serde_json::json;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// More than any chain of facts needs.
const MAX_BODY_BYTES: u64 = 1 << 20;

struct Service;

wasip2::http::proxy::export!(Service);

impl Guest for Service {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (status, text) = match read_body(&request) {
            Some(body) => (200, decide_lines(&body)),
            None => (400, String::new()),
        };
        let response = OutgoingResponse::new(Fields::new());
        // Setting a valid status and taking the body of a new response cannot fail.
        response.set_status_code(status).unwrap();
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let mut stream = body.write().unwrap();
        // The caller may have disconnected.
        let _ = stream.write_all(text.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn read_body(request: &IncomingRequest) -> Option<String> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut text = String::new();
    let read = stream
        .take(MAX_BODY_BYTES + 1)
        .read_to_string(&mut text)
        .ok()?;
    (read as u64 <= MAX_BODY_BYTES).then_some(text)
}

fn decide_lines(body: &str) -> String {
    let mut written = String::new();
    for line in body.lines() {
        let decided = match facts::read(line) {
            Ok((request, chain)) => facts::write(resolver::decide(&request, &chain)),
            Err(error) => json!({"malformed": error.to_string()}),
        };
        written += &format!("{decided}\n");
    }
    written
}
