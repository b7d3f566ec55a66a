//! A pause that blocks no runtime thread and needs no timer of the runtime.

use std::time::Duration;

/// Waits on a separate thread, so that other tasks run meanwhile; on the caller's thread
/// if the system cannot start another one.
pub(crate) async fn sleep(time: Duration) {
    let (woken, wake) = tokio::sync::oneshot::channel();
    let sleeper = std::thread::Builder::new().name("entail-sleep".to_owned());
    let asleep = sleeper.spawn(move || {
        std::thread::sleep(time);
        // The receiver may have been dropped.
        let _ = woken.send(());
    });
    match asleep {
        Ok(_) => {
            let _ = wake.await;
        }
        Err(_) => std::thread::sleep(time),
    }
}
