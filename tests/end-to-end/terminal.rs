//! The program at a pseudo-terminal. At its other end, a Python script waits for a text, reads
//! the state of the terminal, and types.

use std::process::Command;

use serde_json::{Value, json};

use crate::sandbox::{RunOutput, Sandbox};

const TYPIST: &str = r#"
import json, os, pty, select, sys, termios, time

spec = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    if spec["stdin"] is not None:
        os.dup2(os.open(spec["stdin"], os.O_RDONLY), 0)
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])

screen = ""
hidden = []
until = time.monotonic() + 120

def look(within):
    global screen
    if not select.select([terminal], [], [], within)[0]:
        return True
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        return False
    screen += piece.decode("utf-8", "replace")
    return bool(piece)

position = 0
for wait, send in spec["steps"]:
    while wait not in screen[position:] and time.monotonic() < until:
        if not look(1):
            break
    position = screen.index(wait, position) + len(wait)
    hidden.append(not termios.tcgetattr(terminal)[3] & termios.ECHO)
    rest = send.encode()
    while rest:
        _, ready, _ = select.select([], [terminal], [], 1)
        if ready:
            rest = rest[os.write(terminal, rest[:1000]):]
        look(0)
while time.monotonic() < until and look(1):
    pass
print(json.dumps({"screen": screen, "hidden": hidden}))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// A scripted user at a terminal.
pub struct ScriptedUser<'a> {
    sandbox: &'a Sandbox,
    argv: Vec<String>,
    steps: Vec<(String, String)>,
    stdin: Option<&'a str>,
}

impl<'a> ScriptedUser<'a> {
    /// A user who runs the program.
    pub fn entail(sandbox: &'a Sandbox, arguments: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_entail");
        let argv = std::iter::once(program).chain(arguments.iter().copied());
        ScriptedUser {
            sandbox,
            argv: argv.map(str::to_owned).collect(),
            steps: Vec::new(),
            stdin: None,
        }
    }

    /// A user who runs a script, in which the program is `$0`.
    pub fn script(sandbox: &'a Sandbox, script: &str) -> Self {
        let mut user = ScriptedUser::entail(sandbox, &[]);
        let shell = ["bash", "-c", script].map(str::to_owned);
        user.argv.splice(0..0, shell);
        user
    }

    /// Redirects standard input from a file.
    pub fn with_stdin(mut self, file: &'a str) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Waits until the terminal shows a text, and types.
    pub fn at(mut self, shown: &str, types: &str) -> Self {
        self.steps.push((shown.to_owned(), types.to_owned()));
        self
    }

    /// Runs until the program ends. Returns its result and what the terminal showed.
    pub fn run(self) -> Session {
        let mut command = Command::new("python3");
        command.args(["-c", TYPIST]);
        let path = std::env::var("PATH").unwrap();
        let spec = json!({
            "argv": self.argv, "steps": self.steps, "stdin": self.stdin,
            "env": {"PATH": path, "ENTAIL_HOME": self.sandbox.home(), "TERM": "dumb"},
        });
        let ran = self.sandbox.run(command, &spec.to_string());
        let report: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
        Session {
            hidden: serde_json::from_value(report["hidden"].clone()).unwrap(),
            ran: RunOutput {
                // The terminal replaces each LF by CR LF.
                stdout: report["screen"].as_str().unwrap().replace("\r\n", "\n"),
                ..ran
            },
        }
    }
}

/// The result of a session at a terminal.
pub struct Session {
    /// For each step, whether the terminal hid the typed text.
    pub hidden: Vec<bool>,
    pub ran: RunOutput,
}
