//! Owns every long-lived task. Tasks are named, canceled together, restarted after a panic, and joined at shutdown.
//! This is the only module that spawns tasks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::source::{SourceState, SourceStatus};
use pilothouse_core::domain::text;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sink::FactSink;
pub use crate::wire::backoff::Backoff;

/// A group of tasks that stop together.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    stop: CancellationToken,
    tasks: TaskTracker,
    /// None: tasks draw from the generator of their thread.
    seed: Option<u64>,
}

/// Aborts the task when it is dropped.
struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Supervisor {
    pub fn new() -> Self {
        Self::default()
    }

    /// A group whose tasks draw their random numbers (the jitter of polls) from generators of their own: the same seed
    /// and the same name give the same numbers, whatever other tasks there are and in whichever order they run. For
    /// tests.
    pub fn seeded(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::default() }
    }

    /// A group within this one: it can be stopped by itself (one cluster's sources), and stops with this one.
    pub fn child(&self) -> Self {
        Self {
            stop: self.stop.child_token(),
            tasks: self.tasks.clone(),
            seed: self.seed.map(|seed| seed ^ fastrand::u64(..)),
        }
    }

    /// Returns a token that is canceled at shutdown.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs the future of `make` until it ends or the group is stopped. A panic becomes a status event and a restart
    /// with back-off.
    #[allow(clippy::disallowed_methods)]
    pub fn spawn<M, T>(&self, name: impl Into<String>, sink: FactSink, mut make: M)
    where
        M: FnMut() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let stop = self.stop.clone();
        let seed = self.seed.map(|seed| keyed(seed, &name));
        let work = async move {
            let mut backoff = Backoff::api();
            loop {
                let began = crate::clock::Clock::instant();
                let mut task = Owned(tokio::spawn(drawing(seed, make())));
                let ended = tokio::select! {
                    ended = &mut task.0 => ended,
                    () = stop.cancelled() => return,
                };
                let Err(error) = ended else { return };
                if error.is_cancelled() {
                    return;
                }
                if began.elapsed() >= Duration::from_secs(60) {
                    backoff.reset();
                }
                let wait = backoff.next();
                tracing::error!(task = %name, %error, "a task panicked and is restarted");
                let status = panicked(&name, &error.to_string(), &sink, backoff.tries(), wait);
                tokio::select! {
                    () = async { sink.status(status).await; tokio::time::sleep(wait).await } => {}
                    () = stop.cancelled() => return,
                }
            }
        };
        self.tasks.spawn(work);
    }

    /// Runs a future without restarts until it ends or the group is stopped.
    pub fn spawn_once(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Stops the group and waits at most this long for its tasks. Returns whether all of them ended.
    pub async fn shutdown(&self, within: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(within, self.tasks.wait()).await.is_ok()
    }

    /// Stops the group without waiting.
    pub fn cancel(&self) {
        self.stop.cancel();
    }
}

/// FNV-1a: stable between builds, unlike the standard library's hasher.
fn keyed(seed: u64, name: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Runs a task with a random generator of its own, if there is a seed for it.
async fn drawing<T: Future<Output = ()>>(seed: Option<u64>, task: T) {
    let Some(mut own) = seed else { return task.await };
    let mut task = pin!(task);
    poll_fn(|cx| {
        let others = fastrand::get_seed();
        fastrand::seed(own);
        let polled = task.as_mut().poll(cx);
        own = fastrand::get_seed();
        fastrand::seed(others);
        polled
    })
    .await;
}

fn panicked(name: &str, words: &str, sink: &FactSink, tries: u32, wait: Duration) -> SourceStatus {
    let now = sink.clock().now();
    SourceStatus {
        name: Name::from(name),
        state: SourceState::Down { since: now },
        error: Some(Name::from(text::clean(&format!("internal error, restarting: {words}")).into_owned())),
        retry_at: Some(now.plus_secs(i64::try_from(wait.as_secs()).unwrap_or(30))),
        attempts: tries,
        ..SourceStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use pilothouse_core::domain::id::ClusterId;
    use pilothouse_core::facts::event::Fact;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_panic_is_told_and_the_task_restarted() {
        let (facts, _f) = mpsc::channel(8);
        let (control, mut told) = mpsc::channel(8);
        let sink = FactSink::new(ClusterId(0), Clock::system(), facts, control);
        let all = Supervisor::new();
        let runs = Arc::new(AtomicU32::new(0));
        let seen = runs.clone();
        all.child().spawn("pods", sink, move || {
            let run = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run > 0, "boom");
                std::future::pending::<()>().await;
            }
        });
        let event = told.recv().await.unwrap();
        assert!(matches!(event.fact, Fact::Source(s) if s.name == "pods" && s.error.is_some()));
        while runs.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(all.shutdown(Duration::from_secs(1)).await, "children end with their group");
    }

    /// What each task draws in three rounds, when the tasks run in this order.
    async fn drawn(names: &'static [&'static str]) -> std::collections::BTreeMap<&'static str, Vec<u64>> {
        let (facts, _f) = mpsc::channel(8);
        let (control, _c) = mpsc::channel(8);
        let sink = FactSink::new(ClusterId(0), Clock::system(), facts, control);
        let all = Supervisor::seeded(1);
        let (tell, mut told) = mpsc::unbounded_channel();
        for name in names {
            let tell = tell.clone();
            all.spawn(*name, sink.clone(), move || {
                let tell = tell.clone();
                async move {
                    for _ in 0..3 {
                        tell.send((*name, fastrand::u64(..))).unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        drop(tell);
        let mut all_drawn = std::collections::BTreeMap::<_, Vec<u64>>::new();
        while let Some((name, number)) = told.recv().await {
            all_drawn.entry(name).or_default().push(number);
        }
        all_drawn
    }

    #[tokio::test]
    async fn what_a_seeded_task_draws_does_not_depend_on_other_tasks() {
        let few = drawn(&["prometheus", "pods"]).await;
        let more = drawn(&["leases", "pods", "prometheus"]).await;
        assert_eq!(few["prometheus"], more["prometheus"]);
        assert_eq!(few["pods"], more["pods"]);
        assert_ne!(few["pods"], few["prometheus"]);
        let mut one = few["pods"].clone();
        one.dedup();
        assert_eq!(one.len(), 3, "a task goes on where it was");
    }
}
