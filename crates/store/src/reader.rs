//! The thread that answers reads, beside the writer and never waiting for it.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{error::StoreError, lock::DirectoryLock};

/// Reads that may wait; one more makes its caller wait for room.
const QUEUE: usize = 1024;

/// A read to be done on the reader's connection; `None` ends the thread.
type Job = Option<Box<dyn FnOnce(&Connection) + Send>>;

#[derive(Debug)]
pub(crate) struct Reader {
    jobs: mpsc::Sender<Job>,
}

impl Reader {
    /// Starts the thread. It ends at [`Reader::close`], or when the last handle is dropped.
    pub(crate) fn start(
        connection: Connection,
        lock: Arc<DirectoryLock>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let thread = thread::Builder::new().name("store-reader".into()).spawn(move || {
            while let Some(Some(job)) = queue.blocking_recv() {
                job(&connection);
            }
            drop(connection);
            drop(lock);
        })?;
        Ok((Self { jobs }, thread))
    }

    /// Runs `query` on the reader's thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Some(Box::new(move |connection: &Connection| {
            // A caller that went away needs no answer.
            let _ = answer.send(query(connection));
        }));
        self.jobs.send(job).await.map_err(|_| StoreError::StoreClosed)?;
        Ok(answered.await.map_err(|_| StoreError::StoreClosed)??)
    }

    pub(crate) async fn close(&self) {
        // An error means that the thread has ended already.
        let _ = self.jobs.send(None).await;
    }
}
