//! Single flight: many who want the same thing at the same time share one piece of work.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::{FutureExt, Shared, WeakShared};
use tokio::sync::oneshot;
use tracing::Instrument;

/// Where a flight ends: its result, or an error if the work panicked.
pub(crate) type Landing<T> = Shared<oneshot::Receiver<T>>;

/// Work in the air, by what it makes. It runs as a task of its own: one who leaves takes it from
/// nobody else, and when the last one has left it is dropped where it stands.
#[derive(Debug)]
pub(crate) struct Flights<K, T: Clone>(Arc<Mutex<Board<K, T>>>);

#[derive(Debug)]
struct Board<K, T: Clone> {
    /// The number tells a flight from its successor under the same key.
    flights: HashMap<K, (u64, WeakShared<oneshot::Receiver<T>>)>,
    next_number: u64,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Board { flights: HashMap::new(), next_number: 0 })))
    }

    /// Joins the flight for `key`, or starts one.
    pub(crate) fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = board.flights.get(&key).and_then(|(_, landing)| landing.upgrade()) {
            return landing;
        }
        let (mut sender, landing) = oneshot::channel();
        let landing = landing.shared();
        let number = board.next_number;
        board.next_number += 1;
        if let Some(weak) = landing.downgrade() {
            board.flights.insert(key.clone(), (number, weak));
        }
        let entry = Entry { board: Arc::clone(&self.0), key, number };
        let work = start();
        let task = async move {
            let result = tokio::select! {
                result = work => result,
                () = sender.closed() => return,
            };
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
    board: Arc<Mutex<Board<K, T>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T: Clone> Drop for Entry<K, T> {
    fn drop(&mut self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if board.flights.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            board.flights.remove(&self.key);
        }
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
        let work = || closed.clone().map(Result::unwrap);
        let first = flights.join("key", work);
        let second = flights.join("key", || async { panic!("it is in the air already") });
        drop(first);
        tokio::task::yield_now().await;
        open.send(7).unwrap();
        assert_eq!(second.await, Ok(7));
    }

    #[tokio::test]
    async fn the_work_stops_when_the_last_one_leaves_and_the_next_one_starts_anew() {
        let flights = Flights::new();
        let (held, dropped) = oneshot::channel::<()>();
        let first = flights.join("key", || async move {
            let _held = held;
            std::future::pending().await
        });
        drop(first);
        // Comes before the old task has noticed, and must not be taken off the board by it.
        let (open, closed) = oneshot::channel::<u8>();
        let second = flights.join("key", || closed.map(Result::unwrap));
        assert!(dropped.await.is_err(), "the first work was dropped");
        let third = flights.join("key", || async { panic!("it is in the air already") });
        open.send(7).unwrap();
        assert_eq!((second.await, third.await), (Ok(7), Ok(7)));
        let board = flights.0.lock().unwrap();
        assert!(board.flights.is_empty());
    }

    #[tokio::test]
    async fn a_panic_lands_nowhere_and_leaves_the_key_free() {
        let flights = Flights::new();
        let failing = || async { panic!("expected by this test") };
        assert!(flights.join("key", failing).await.is_err());
        assert_eq!(flights.join("key", || async { 1 }).await, Ok(1));
    }
}
