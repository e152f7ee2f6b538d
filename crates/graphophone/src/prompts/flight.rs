//! Single flight: many who want the same thing at the same time share one piece of work.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::{FutureExt, Shared};
use tokio::sync::oneshot;
use tracing::Instrument;

/// Where a flight ends: its result, or an error if the work panicked.
pub(crate) type Landing<T> = Shared<oneshot::Receiver<T>>;

/// Work in the air, by what it makes. It runs as a task of its own: nobody's cancellation takes it
/// from the others.
#[derive(Debug)]
pub(crate) struct Flights<K, T: Clone>(Arc<Mutex<HashMap<K, Landing<T>>>>);

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the flight for `key`, or starts one.
    pub(crate) fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(&key) {
            return landing.clone();
        }
        let (sender, landing) = oneshot::channel();
        let landing = landing.shared();
        flights.insert(key.clone(), landing.clone());
        let entry = Entry { flights: Arc::clone(&self.0), key };
        let work = start();
        let task = async move {
            let result = work.await;
            // Whoever comes now finds what the work left behind, or starts anew.
            drop(entry);
            let _ = sender.send(result);
        };
        tokio::spawn(task.in_current_span());
        landing
    }
}

/// Takes its flight off the board, also if the work panics.
struct Entry<K: Eq + Hash, T: Clone> {
    flights: Arc<Mutex<HashMap<K, Landing<T>>>>,
    key: K,
}

impl<K: Eq + Hash, T: Clone> Drop for Entry<K, T> {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_who_ask_at_once_share_one_piece_of_work() {
        let flights = Flights::new();
        let runs = Arc::new(AtomicU32::new(0));
        let (open, closed) = oneshot::channel::<()>();
        let closed = closed.shared();
        let work = || {
            let (runs, closed) = (Arc::clone(&runs), closed.clone());
            async move {
                let _ = closed.await;
                runs.fetch_add(1, Ordering::Relaxed)
            }
        };
        let all: Vec<_> = (0..50).map(|_| flights.join("key", work)).collect();
        open.send(()).unwrap();
        assert!(futures::future::join_all(all).await.iter().all(|result| *result == Ok(0)));
        assert_eq!(flights.join("key", work).await, Ok(1));
    }

    #[tokio::test]
    async fn the_work_goes_on_when_the_one_who_started_it_leaves() {
        let flights = Flights::new();
        let (open, closed) = oneshot::channel::<u8>();
        let closed = closed.shared();
        let runs = AtomicU32::new(0);
        let work = || {
            runs.fetch_add(1, Ordering::Relaxed);
            closed.clone().map(Result::unwrap)
        };
        drop(flights.join("key", work));
        let second = flights.join("key", work);
        open.send(7).unwrap();
        assert_eq!(second.await, Ok(7));
        assert_eq!(runs.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_panic_lands_nowhere_and_leaves_the_key_free() {
        let flights = Flights::new();
        let failing = || async { panic!("expected by this test") };
        assert!(flights.join("key", failing).await.is_err());
        assert_eq!(flights.join("key", || async { 1 }).await, Ok(1));
    }
}
