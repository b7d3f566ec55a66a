//! Work on all processors.

/// Runs `work` on every processor at the same time, including the caller's thread, and
/// returns all results. `work` takes its share of what there is to do.
pub(crate) fn on_all_processors<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        // If the system starts no more threads, the existing ones do all the work.
        let threads: Vec<_> = (1..processors)
            .map_while(|_| {
                let thread = std::thread::Builder::new().name("entail-compare".to_owned());
                thread.spawn_scoped(scope, &work).ok()
            })
            .collect();
        let mut results = vec![work()];
        for thread in threads {
            match thread.join() {
                Ok(result) => results.push(result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}
