//! The cache: one download and one decoding per file, shared by all calls.

use std::{
    fs, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use graphophone_call::{MediaPrompt, Shaping};
use graphophone_graph::prompt_uri::{self, OwnPrompt, PromptUriFault};
use graphophone_media::{codec::Codec, compressed::Packing, prompt::Sha256};
use sha2::Digest;
use tokio::{sync::Semaphore, time::Instant};
use tracing::Instrument;

use super::{
    Owner, PrepareError, Prepared, Settings,
    audio::{self, Audio},
    directory,
    fetch::{Body, Fetched, Fetcher},
    flight::Flights,
    freshness::{CachePolicy, Validators},
    gate::{Gate, Pass},
    guard::{Guard, origin},
    lru::Lru,
    outcome::shown,
    own::{self, Sources, Upload, UploadFailed, Uploads},
};

/// Least weight of a file on disk: a block and its row here. Bounds the number of rows.
const LEAST_FILE_WEIGHT: u64 = 16 * 1024;
/// Least weight of audio in memory.
const LEAST_AUDIO_WEIGHT: u64 = 512;

/// Prepares prompts for playing; cheap to clone.
///
/// A prompt with a `resourceId` is kept under (tenant, application, resourceId, uri) for as long as
/// its server allows, then revalidated. One without is asked for again at every play, by a
/// conditional request where the server gave a validator. Plays that want the same prompt at the
/// same time share one download and its outcome; failures are not kept.
#[derive(Clone, Debug)]
pub struct Prompts(Arc<Shelves>);

/// A digest over owner, resourceId and uri: fixed in size and fit for a file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key([u8; 32]);

/// What audio is: equal samples at another rate sound different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Content {
    sha256: Sha256,
    rate: u32,
}

#[derive(Debug)]
struct Shelves {
    fetcher: Fetcher,
    own: Sources,
    gate: Arc<Gate>,
    settings: Settings,
    stock: Mutex<Stock>,
    downloads: Flights<Key, Result<Arc<Source>, PrepareError>>,
    encodings: Flights<u64, Result<Arc<Audio>, PrepareError>>,
    /// Decoding and encoding: as many at once as there are processors.
    processors: Arc<Semaphore>,
    next_source: AtomicU64,
    /// Held as long as the directory is ours.
    _lock: fs::File,
}

#[derive(Debug)]
struct Stock {
    files: Lru<Key, File>,
    audio: Lru<Content, Arc<Audio>>,
}

/// A file in the cache.
#[derive(Debug)]
struct File {
    source: Arc<Source>,
    policy: CachePolicy,
    fresh_until: Instant,
}

/// A downloaded file.
#[derive(Debug)]
struct Source {
    number: u64,
    uri: String,
    body: Body,
    /// Known after the first decoding.
    content: OnceLock<Content>,
}

impl Prompts {
    /// Takes the cache directory over and empties it of earlier downloads.
    ///
    /// # Errors
    /// The directory cannot be made or belongs to another running server.
    pub fn new(settings: Settings, guard: Guard) -> io::Result<Self> {
        let lock = directory::take(&settings.directory)?;
        let fetcher = Fetcher::new(
            guard,
            settings.fetch.clone(),
            settings.directory.clone(),
            &settings.extra_roots,
        );
        let own = Sources::new(&settings)?;
        let stock = Stock {
            files: Lru::new(settings.disk_budget),
            audio: Lru::new(settings.memory_budget),
        };
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        Ok(Self(Arc::new(Shelves {
            fetcher,
            own,
            gate: Gate::new(settings.gate.clone()),
            settings,
            stock: Mutex::new(stock),
            downloads: Flights::new(),
            encodings: Flights::new(),
            processors: Arc::new(Semaphore::new(processors)),
            next_source: AtomicU64::new(0),
            _lock: lock,
        })))
    }

    /// Makes a prompt playable with `codec`. Does not wait if a kept prompt is fresh and encoded.
    ///
    /// # Errors
    /// [`PrepareError`]; [`super::to_result`] words it for the bot.
    pub async fn prepare(
        &self,
        owner: Owner,
        prompt: &MediaPrompt,
        codec: Codec,
    ) -> Result<Prepared, PrepareError> {
        let key = Key::of(owner, prompt);
        let source = self.0.source(owner, key, prompt).await?;
        let audio = self.0.encode(key, source).await?;
        let encoded = Arc::clone(audio.encoded(codec));
        if prompt.shaping == Shaping::default() {
            return Ok(encoded.into());
        }
        // Not kept: it is cheap to make, and there are as many as bots can think of.
        let Shaping { gain_tenths, start_ms } = prompt.shaping;
        let work = tokio::task::spawn_blocking(move || encoded.shaped(gain_tenths, start_ms));
        let shaped = work.await.map_err(|_| panicked(shown(&prompt.uri)))?;
        let failed = |source| PrepareError::Shape { uri: shown(&prompt.uri), source };
        Ok(Arc::new(shaped.map_err(failed)?).into())
    }

    /// Gives up every downloaded file that nobody reads; how many bytes that were. Encoded audio
    /// stays, it needs no disk.
    pub async fn give_up_unused(&self) -> u64 {
        let files = self.0.stock().files.take_unused(File::in_use);
        let bytes = files.iter().map(|file| file.source.body.length).sum();
        discard(files).await;
        bytes
    }

    /// How long the oldest fetch has waited that only the number of all fetches holds up.
    pub fn longest_wait(&self) -> std::time::Duration {
        self.0.gate.longest_wait()
    }

    /// Most bytes of a prompt.
    pub fn max_bytes(&self) -> u64 {
        self.0.settings.fetch.max_bytes
    }

    /// The uploaded prompts.
    pub fn uploads(&self) -> &Uploads {
        &self.0.own.uploads
    }

    /// Decodes a file like a downloaded one and keeps it under `name`, in the place of what has that
    /// name. True if nothing had.
    ///
    /// # Errors
    /// [`UploadFailed`] says what is wrong with the file, or that there is no room.
    pub async fn upload(&self, name: String, bytes: Bytes) -> Result<(Upload, bool), UploadFailed> {
        let permit = Arc::clone(&self.0.processors).acquire_owned().await;
        let shelves = Arc::clone(&self.0);
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shelves.take_in(name, &bytes)
        });
        work.await.unwrap_or_else(|_| Err(io::Error::other("the task was lost").into()))
    }

    /// Warms the cache (`preFetchMedia`) in the background; failures are logged and forgotten.
    pub fn prefetch(&self, owner: Owner, prompts: &[MediaPrompt]) {
        for prompt in prompts {
            let (shelves, prompt) = (Arc::clone(&self.0), prompt.clone());
            let warm = async move {
                let key = Key::of(owner, &prompt);
                let warmed = async {
                    let source = shelves.source(owner, key, &prompt).await?;
                    shelves.encode(key, source).await
                };
                if let Err(error) = warmed.await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "prefetch failed");
                }
            };
            tokio::spawn(warm.in_current_span());
        }
    }
}

impl Key {
    fn of((tenant, app): Owner, prompt: &MediaPrompt) -> Self {
        let mut digest = sha2::Sha256::new();
        digest.update(tenant.uuid().as_bytes());
        digest.update(app.uuid().as_bytes());
        // The length in front keeps "a" + "b" and "ab" + "" apart.
        let resource_id = prompt.resource_id.as_deref();
        digest.update(resource_id.map_or(u64::MAX, |id| id.len() as u64).to_le_bytes());
        digest.update(resource_id.unwrap_or_default());
        digest.update(&prompt.uri);
        Self(digest.finalize().into())
    }

    fn file_name(&self) -> String {
        Sha256(self.0).to_string() + "-"
    }
}

impl Shelves {
    async fn source(
        self: &Arc<Self>,
        owner: Owner,
        key: Key,
        prompt: &MediaPrompt,
    ) -> Result<Arc<Source>, PrepareError> {
        // What the server makes itself does not change without its knowledge.
        let is_own = || prompt_uri::parse(&prompt.uri).is_some();
        if (prompt.resource_id.is_some() || is_own())
            && let Some(source) = self.fresh(&key)
        {
            return Ok(source);
        }
        self.download(owner, key, prompt).await
    }

    /// A kept file that need not be revalidated.
    fn fresh(&self, key: &Key) -> Option<Arc<Source>> {
        let mut stock = self.stock();
        let file = stock.files.get(key)?;
        (file.fresh_until > Instant::now()).then(|| Arc::clone(&file.source))
    }

    /// The file, downloaded or revalidated now; one GET for all who ask meanwhile.
    async fn download(
        self: &Arc<Self>,
        owner: Owner,
        key: Key,
        prompt: &MediaPrompt,
    ) -> Result<Arc<Source>, PrepareError> {
        let landing = self.downloads.join(key, || {
            let (shelves, uri) = (Arc::clone(self), prompt.uri.clone());
            async move { shelves.get(owner, key, uri).await }
        });
        landing.await.unwrap_or_else(|_| Err(panicked(shown(&prompt.uri))))
    }

    async fn get(
        self: Arc<Self>,
        owner: Owner,
        key: Key,
        uri: String,
    ) -> Result<Arc<Source>, PrepareError> {
        let known = self.known(&key);
        let fetched = match prompt_uri::parse(&uri) {
            Some(own) => self.provide(owner, &key, &uri, own, known.as_ref()).await?,
            None => self.fetch(owner, &key, &uri, known.as_ref()).await?,
        };
        match (fetched, known) {
            (Fetched::NotModified(policy), Some((source, old))) => {
                self.keep(key, &source, old.updated(policy)).await;
                Ok(source)
            }
            // Without a stored file there are no validators, and the fetcher takes no 304.
            (Fetched::NotModified(_), None) => Err(panicked(shown(&uri))),
            (Fetched::Body(body, policy), known) => {
                let source = match known {
                    // Sent again although it is the same: what was made of it stays good.
                    Some((source, _)) if source.body.digest == body.digest => source,
                    _ => Arc::new(Source {
                        number: self.next_source.fetch_add(1, Ordering::Relaxed),
                        uri: shown(&uri),
                        body,
                        content: OnceLock::new(),
                    }),
                };
                self.keep(key, &source, policy).await;
                Ok(source)
            }
        }
    }

    async fn fetch(
        &self,
        owner: Owner,
        key: &Key,
        uri: &str,
        known: Option<&(Arc<Source>, CachePolicy)>,
    ) -> Result<Fetched, PrepareError> {
        let failed = |source| PrepareError::Download { uri: shown(uri), source };
        let url = self.fetcher.check(uri).map_err(|refusal| failed(refusal.into()))?;
        let deadline = Instant::now() + self.settings.fetch.total;
        let _pass = self.enter(owner, origin(&url), uri, deadline).await?;
        let validators =
            known.map_or_else(Validators::default, |(_, policy)| policy.validators.clone());
        let fetched = self.fetcher.get(url, &validators, &key.file_name(), deadline).await;
        fetched.map_err(failed)
    }

    async fn provide(
        &self,
        owner: Owner,
        key: &Key,
        uri: &str,
        own: Result<OwnPrompt, PromptUriFault>,
        known: Option<&(Arc<Source>, CachePolicy)>,
    ) -> Result<Fetched, PrepareError> {
        let failed = |source| PrepareError::Own { uri: shown(uri), source };
        let own = own.map_err(|fault| failed(fault.into()))?;
        let deadline = Instant::now() + self.settings.fetch.total;
        let _pass = match Sources::host(&own) {
            Some(host) => Some(self.enter(owner, host.to_owned(), uri, deadline).await?),
            None => None,
        };
        let known = known.map(|(source, _)| source.body.digest);
        self.own.make(own, known, &key.file_name(), deadline).await.map_err(failed)
    }

    async fn enter(
        &self,
        owner: Owner,
        host: String,
        uri: &str,
        deadline: Instant,
    ) -> Result<Pass, PrepareError> {
        match tokio::time::timeout_at(deadline, self.gate.enter(owner, host)).await {
            Ok(Ok(pass)) => Ok(pass),
            Ok(Err(_)) | Err(_) => Err(PrepareError::Busy { uri: shown(uri) }),
        }
    }

    /// The stored file behind a key, fresh or not.
    fn known(&self, key: &Key) -> Option<(Arc<Source>, CachePolicy)> {
        let mut stock = self.stock();
        let file = stock.files.get(key)?;
        Some((Arc::clone(&file.source), file.policy.clone()))
    }

    async fn keep(&self, key: Key, source: &Arc<Source>, policy: CachePolicy) {
        let gone = if policy.no_store {
            self.stock().files.remove(&key).into_iter().collect()
        } else {
            let fresh_for = policy.fresh_for.unwrap_or(self.settings.default_freshness);
            let fresh_until = Instant::now() + fresh_for.min(self.settings.max_freshness);
            let file = File { source: Arc::clone(source), policy, fresh_until };
            let weight = source.body.length.max(LEAST_FILE_WEIGHT);
            self.stock().files.insert(key, file, weight, File::in_use)
        };
        discard(gone).await;
    }

    /// The audio of a file; one decoding for all who ask meanwhile.
    async fn encode(
        self: &Arc<Self>,
        key: Key,
        source: Arc<Source>,
    ) -> Result<Arc<Audio>, PrepareError> {
        if let Some(audio) = self.stock().audio_of(&source) {
            return Ok(audio);
        }
        let landing = self.encodings.join(source.number, || {
            let (shelves, source) = (Arc::clone(self), Arc::clone(&source));
            async move { shelves.transcode(key, source).await }
        });
        landing.await.unwrap_or_else(|_| Err(panicked(source.uri.clone())))
    }

    async fn transcode(
        self: Arc<Self>,
        key: Key,
        source: Arc<Source>,
    ) -> Result<Arc<Audio>, PrepareError> {
        let permit = Arc::clone(&self.processors).acquire_owned().await;
        let (shelves, file) = (Arc::clone(&self), Arc::clone(&source));
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shelves.make(&file)
        });
        let outcome = work.await.unwrap_or_else(|_| Err(panicked(source.uri.clone())));
        if outcome.is_err() {
            let gone = {
                let mut stock = self.stock();
                let is_bad =
                    stock.files.get(&key).is_some_and(|file| file.source.number == source.number);
                if is_bad { stock.files.remove(&key) } else { None }
            };
            drop(source);
            discard(gone.into_iter().collect()).await;
        }
        outcome
    }

    /// Checks and keeps an upload; blocking.
    fn take_in(&self, name: String, bytes: &[u8]) -> Result<(Upload, bool), UploadFailed> {
        let body = own::spool(&self.settings.directory, "upload-", bytes)?;
        let file_digest = body.digest;
        let prompt = audio::decode(&body, &name, &self.settings).map_err(Box::new)?;
        let upload = Upload {
            name,
            bytes: bytes.len() as u64,
            format: Packing::of(bytes).map_or("WAV".to_owned(), |packing| packing.to_string()),
            duration_ms: prompt.duration().as_millis() as u64,
            sha256: prompt.sha256.to_string(),
            uploaded: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            file_digest,
        };
        let is_new = self.own.uploads.put(upload.clone(), bytes)?;
        Ok((upload, is_new))
    }

    /// Reads, decodes and encodes; blocking.
    fn make(&self, source: &Source) -> Result<Arc<Audio>, PrepareError> {
        let prompt = audio::decode(&source.body, &source.uri, &self.settings)?;
        let content = Content { sha256: prompt.sha256, rate: prompt.rate };
        let content = *source.content.get_or_init(|| content);
        // Another file may hold the same audio.
        if let Some(audio) = self.stock().audio.get(&content) {
            return Ok(Arc::clone(audio));
        }
        let audio = Arc::new(Audio::of(prompt));
        let weight = audio.weight().max(LEAST_AUDIO_WEIGHT);
        let in_use = |audio: &Arc<Audio>| Arc::strong_count(audio) > 1 || audio.in_use();
        let gone = self.stock().audio.insert(content, Arc::clone(&audio), weight, in_use);
        drop(gone);
        Ok(audio)
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().expect("nothing panics while the stock is locked")
    }
}

impl Stock {
    fn audio_of(&mut self, source: &Source) -> Option<Arc<Audio>> {
        let content = source.content.get()?;
        self.audio.get(content).map(|audio| Arc::clone(audio))
    }
}

impl File {
    /// Whether somebody reads it, so that giving it up would free nothing.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.source) > 1
    }
}

/// Drops files where waiting for the disk does no harm.
async fn discard(files: Vec<File>) {
    if !files.is_empty() {
        let _ = tokio::task::spawn_blocking(move || drop(files)).await;
    }
}

fn panicked(uri: String) -> PrepareError {
    PrepareError::Internal { uri, source: None }
}
