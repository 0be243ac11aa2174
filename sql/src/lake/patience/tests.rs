use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use object_store::PutMode;
use object_store::memory::InMemory;

use super::*;
use crate::lake::client::Skew;
use crate::lake::faults::{Fault, Faults, Request, Verb};
use crate::lake::trouble::{TroubleKind, trouble_in};
use crate::lake::{Layer, Transient};

/// Time that passes when somebody waits for it.
#[derive(Debug, Default)]
struct Quick(Mutex<Vec<Duration>>);

#[async_trait]
impl Timer for Quick {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().iter().sum()
    }

    async fn sleep(&self, time: Duration) {
        self.0.lock().unwrap().push(time);
    }
}

struct World {
    memory: Arc<InMemory>,
    faults: Faults,
    timer: Arc<Quick>,
    store: Patience,
}

impl World {
    fn new(plan: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self::with(Limits::default(), None, plan)
    }

    fn with(
        limits: Limits,
        renewal: Option<Renewal>,
        plan: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let (memory, timer, faults) = (Arc::new(InMemory::new()), Arc::new(Quick::default()), Faults::new(plan));
        let explainer = Explainer {
            service: Service::Azure,
            authority: "abfss://c@a.dfs.core.windows.net".to_owned(),
            sign_in: "the account key".to_owned(),
            skew: Skew::default(),
        };
        let inner = faults.around(Arc::clone(&memory) as _, "");
        let around = Around { inner, parts: None, renewal, explainer, limits, timer: Arc::clone(&timer) as _ };
        Self { memory, faults, timer, store: Patience::new(around) }
    }

    fn slept(&self) -> Vec<Duration> {
        self.timer.0.lock().unwrap().clone()
    }

    async fn bytes(&self, path: &str) -> Vec<u8> {
        self.memory.get(&path.into()).await.unwrap().bytes().await.unwrap().to_vec()
    }
}

/// The first so many of each request go wrong.
fn first(count: u64, fault: Fault) -> impl Fn(&Request) -> Option<Fault> {
    move |request| (request.nth < count).then_some(fault)
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

#[tokio::test]
async fn what_passes_is_tried_again_at_growing_intervals() {
    let world = World::new(first(5, Fault::Reset));
    world.memory.put(&"a".into(), "hello".into()).await.unwrap();
    assert_eq!(world.store.get(&"a".into()).await.unwrap().bytes().await.unwrap(), "hello");
    let slept = world.slept();
    assert_eq!(slept.len(), 5);
    for (pause, least) in slept.iter().zip([200, 400, 800, 1600, 3200].map(Duration::from_millis)) {
        assert!((least..=2 * least).contains(pause), "{slept:?}");
    }
}

#[tokio::test]
async fn a_service_is_left_alone_for_as_long_as_it_asks() {
    let world = World::new(first(2, Fault::Throttled(Duration::from_secs(17))));
    world.memory.put(&"a".into(), "hello".into()).await.unwrap();
    world.store.head(&"a".into()).await.unwrap();
    assert_eq!(world.slept(), [Duration::from_secs(17); 2]);
}

#[tokio::test]
async fn patience_ends_with_its_budget_and_says_so() {
    let limits = Limits { retry_budget: Duration::from_secs(30), ..Limits::default() };
    let world = World::with(limits, None, |_| Some(Fault::Throttled(Duration::from_secs(4))));
    let error = world.store.get(&"t/part".into()).await.unwrap_err();
    let trouble = trouble_in(&error).unwrap();
    assert_eq!(trouble.kind, TroubleKind::Unavailable);
    let message = &trouble.message;
    assert!(
        message.starts_with("cannot read abfss://c@a.dfs.core.windows.net/t/part: the service fails, "),
        "{message}"
    );
    assert!(message.contains("ServerBusy") && message.contains("retry_budget"), "{message}");
    assert!(world.timer.now() <= limits.retry_budget);
    assert!(world.slept().len() >= 3);
}

#[tokio::test]
async fn a_service_that_asks_for_longer_than_there_is_patience_is_not_waited_for() {
    let budget = Limits::default().retry_budget;
    for (asked, slept) in [(budget, vec![budget]), (budget + Duration::from_secs(1), vec![])] {
        let world = World::new(first(1, Fault::Throttled(asked)));
        world.memory.put(&"a".into(), "hello".into()).await.unwrap();
        let read = world.store.get(&"a".into()).await;
        assert_eq!((world.slept(), read.is_ok()), (slept.clone(), !slept.is_empty()));
        if let Err(error) = read {
            let message = &trouble_in(&error).unwrap().message;
            assert!(message.contains("1 times within 0 s, and asks to be left alone for 181 s ("), "{message}");
        }
    }
}

#[tokio::test]
async fn whoever_takes_his_time_with_what_was_read_has_all_patience_left() {
    let world = World::new(first(1, Fault::Broken));
    let text = "0123456789".repeat(1000);
    world.memory.put(&"a".into(), text.clone().into()).await.unwrap();
    let mut stream = world.store.get(&"a".into()).await.unwrap().into_stream();
    let mut read = stream.try_next().await.unwrap().unwrap().to_vec();
    world.timer.sleep(Duration::from_secs(3600)).await;
    while let Some(bytes) = stream.try_next().await.unwrap() {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, text.as_bytes());
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    let world = World::new(|request| (request.path.as_ref() == "secret").then_some(Fault::Refused));
    assert!(matches!(world.store.get(&"none".into()).await.unwrap_err(), Error::NotFound { .. }));
    let refused = world.store.get(&"secret".into()).await.unwrap_err();
    assert_eq!(trouble_in(&refused).unwrap().kind, TroubleKind::WrongCredential);
    world.memory.put(&"a".into(), "there".into()).await.unwrap();
    let taken = world.store.put_opts(&"a".into(), "new".into(), create()).await.unwrap_err();
    assert!(matches!(taken, Error::AlreadyExists { .. }));
    assert_eq!((world.slept().len(), world.faults.counted().0), (0, 3));
}

#[tokio::test]
async fn temporary_credentials_that_are_taken_back_are_asked_for_once_more() {
    let renewals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&renewals);
    let renewal: Renewal = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        true
    });
    let world = World::with(Limits::default(), Some(renewal), |request| match request.path.as_ref() {
        "once" => (request.nth == 0).then_some(Fault::Refused),
        _ => Some(Fault::Refused),
    });
    world.memory.put(&"once".into(), "hello".into()).await.unwrap();
    assert!(world.store.get(&"once".into()).await.is_ok());
    assert_eq!(renewals.load(Ordering::Relaxed), 1);
    let error = world.store.get(&"always".into()).await.unwrap_err();
    assert_eq!(trouble_in(&error).unwrap().kind, TroubleKind::WrongCredential);
    assert_eq!((renewals.load(Ordering::Relaxed), world.slept().len()), (2, 0));
}

#[tokio::test]
async fn a_create_whose_answer_got_lost_finds_itself() {
    let world = World::new(|request| (request.verb == Verb::Put && request.nth == 0).then_some(Fault::Lost));
    let payload: PutPayload = [Bytes::from("one"), Bytes::from("two")].into_iter().collect();
    let done = world.store.put_opts(&"log/1".into(), payload, create()).await.unwrap();
    assert!(done.e_tag.is_some());
    assert_eq!(world.bytes("log/1").await, b"onetwo");
}

#[tokio::test]
async fn a_create_whose_answer_got_lost_does_not_take_anothers_for_itself() {
    for other in ["other1", "longer than that"] {
        // Nothing was done, and somebody else is faster than the second try.
        let world = World::new(|request| (request.verb == Verb::Put && request.nth == 0).then_some(Fault::Reset));
        world.memory.put(&"log/1".into(), other.into()).await.unwrap();
        let error = world.store.put_opts(&"log/1".into(), "onetwo".into(), create()).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
        assert_eq!(world.bytes("log/1").await, other.as_bytes());
    }
}

#[tokio::test]
async fn an_update_whose_answer_got_lost_finds_itself() {
    let world = World::new(|request| (request.verb == Verb::Put && request.nth == 0).then_some(Fault::Lost));
    let before = world.memory.put(&"a".into(), "before".into()).await.unwrap();
    let update = PutMode::Update(before.into());
    world.store.put_opts(&"a".into(), "after".into(), update.clone().into()).await.unwrap();
    assert_eq!(world.bytes("a").await, b"after");
    let stale = world.store.put_opts(&"a".into(), "late".into(), update.into()).await.unwrap_err();
    assert!(matches!(stale, Error::Precondition { .. }), "{stale}");
}

#[tokio::test]
async fn a_read_that_breaks_off_goes_on_where_it_did() {
    let world = World::new(first(3, Fault::Broken));
    let text: String = (0..10_000).map(|number| number.to_string()).collect();
    world.memory.put(&"a".into(), text.clone().into()).await.unwrap();
    let read = world.store.get(&"a".into()).await.unwrap().bytes().await.unwrap();
    assert_eq!(read, text.as_bytes());
    // Each request asked for what was still missing.
    assert!(world.faults.counted().0 >= 4);
    let part = world.store.get_range(&"a".into(), 100..9_000).await.unwrap();
    assert_eq!(part, &text.as_bytes()[100..9_000]);
    let ranges = world.store.get_ranges(&"a".into(), &[5..10, 20_000..20_100]).await.unwrap();
    assert_eq!(ranges, [&text.as_bytes()[5..10], &text.as_bytes()[20_000..20_100]]);
}

#[tokio::test]
async fn a_read_does_not_go_on_in_another_object() {
    let world = World::new(|request| (request.from == 0 && request.nth == 0).then_some(Fault::Broken));
    world.memory.put(&"a".into(), "0123456789".into()).await.unwrap();
    let reading = world.store.get(&"a".into()).await.unwrap();
    world.memory.put(&"a".into(), "abcdefghij".into()).await.unwrap();
    let error = reading.bytes().await.unwrap_err();
    assert!(error.to_string().contains("a was replaced while it was read"), "{error}");
}

/// A store whose tags are no marks, so that it takes none for one.
#[derive(Debug)]
struct Unmarked {
    memory: Arc<InMemory>,
    tag: Option<&'static str>,
}

impl Display for Unmarked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Unmarked")
    }
}

#[async_trait]
impl ObjectStore for Unmarked {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.if_match.is_some() {
            return Err(Error::Precondition { path: location.to_string(), source: "no tag matches".into() });
        }
        let mut result = self.memory.get_opts(location, options).await?;
        result.meta.e_tag = self.tag.map(str::to_owned);
        Ok(result)
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.memory.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(path, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn an_object_without_a_mark_is_read_anew_as_long_as_nothing_of_it_was_given() {
    for tag in [None, Some("W/\"1\"")] {
        let world = World::new(first(1, Fault::Broken));
        let inner = world.faults.around(Arc::new(Unmarked { memory: Arc::clone(&world.memory), tag }), "");
        let explainer = Explainer {
            service: Service::Web,
            authority: "https://example.com".to_owned(),
            sign_in: "anonymously".to_owned(),
            skew: Skew::default(),
        };
        let (limits, timer) = (Limits::default(), Arc::clone(&world.timer) as _);
        let store = Patience::new(Around { inner, parts: None, renewal: None, explainer, limits, timer });
        // Half of one byte is none.
        for name in ["one", "changed"] {
            world.memory.put(&name.into(), "1".into()).await.unwrap();
        }
        world.memory.put(&"many".into(), "0123456789".into()).await.unwrap();
        assert_eq!(store.get(&"one".into()).await.unwrap().bytes().await.unwrap(), "1", "{tag:?}");
        let reading = store.get(&"changed".into()).await.unwrap();
        world.memory.put(&"changed".into(), "23".into()).await.unwrap();
        let error = reading.bytes().await.unwrap_err().to_string();
        assert!(error.contains("changed was replaced while it was read"), "{tag:?}: {error}");
        let error = store.get(&"many".into()).await.unwrap().bytes().await.unwrap_err().to_string();
        assert!(error.contains("the connection was reset"), "{tag:?}: {error}");
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_goes_on_where_it_did() {
    for service in [Service::Azure, Service::Disk] {
        let world = World::new(first(3, Fault::Reset));
        let mut names: Vec<String> = (0..50).map(|number| format!("t/{number:02}")).collect();
        for name in &names {
            world.memory.put(&name.as_str().into(), "x".into()).await.unwrap();
        }
        let explainer =
            Explainer { service, authority: "file://".to_owned(), sign_in: "nobody".to_owned(), skew: Skew::default() };
        let inner = world.faults.around(Arc::clone(&world.memory) as _, "");
        let (limits, timer) = (Limits::default(), Arc::clone(&world.timer) as _);
        let store = Patience::new(Around { inner, parts: None, renewal: None, explainer, limits, timer });
        let listed: Vec<_> = store.list(Some(&"t".into())).try_collect().await.unwrap();
        let listed: Vec<_> = listed.into_iter().map(|found| found.location.to_string()).collect();
        assert_eq!(listed, names);
        let after: Vec<_> = store.list_with_offset(Some(&"t".into()), &"t/39".into()).try_collect().await.unwrap();
        names.drain(..40);
        let after: Vec<_> = after.into_iter().map(|found| found.location.to_string()).collect();
        assert_eq!(after, names);
    }
}

#[tokio::test]
async fn what_was_deleted_before_the_answer_got_lost_is_deleted() {
    let world = World::new(|request| match (request.path.as_ref(), request.nth) {
        ("b", 0) => Some(Fault::Lost),
        ("c", 0) => Some(Fault::Throttled(Duration::ZERO)),
        _ => None,
    });
    for name in ["a", "b", "c"] {
        world.memory.put(&name.into(), "x".into()).await.unwrap();
    }
    let names = ["a", "b", "c"].map(|name| Ok(Path::from(name)));
    let mut deleted: Vec<_> =
        world.store.delete_stream(futures::stream::iter(names).boxed()).try_collect().await.unwrap();
    deleted.sort();
    assert_eq!(deleted, ["a", "b", "c"].map(Path::from));
    assert_eq!(world.memory.list(None).count().await, 0);
}

#[tokio::test]
async fn no_more_requests_wait_at_once_than_allowed() {
    #[derive(Debug, Default)]
    struct Counting {
        now: AtomicUsize,
        most: AtomicUsize,
    }
    let counting = Counting::default();
    let limits = Limits { connections: 3, ..Limits::default() };
    let world = World::with(limits, None, |_| None);
    let request = || async {
        let now = counting.now.fetch_add(1, Ordering::SeqCst) + 1;
        counting.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        counting.now.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    };
    futures::future::join_all((0..20).map(|_| world.store.0.once(request()))).await;
    assert_eq!(counting.most.load(Ordering::SeqCst), 3);
}

/// A store in memory that takes parts by their numbers; the first try of each request goes wrong.
#[derive(Debug)]
struct Parts {
    memory: InMemory,
    /// Whether what went wrong was done all the same.
    is_done: bool,
    /// In whose words an upload is gone.
    service: Service,
    tried: Mutex<Vec<String>>,
}

impl Parts {
    async fn first<T>(&self, what: String, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let is_first = {
            let mut tried = self.tried.lock().unwrap();
            let is_first = !tried.contains(&what);
            tried.push(what.clone());
            is_first
        };
        if !is_first {
            return request.await.map_err(|error| match error {
                Error::Generic { source, .. } if source.to_string().contains("not found") => match self.service {
                    Service::Azure => Error::Generic {
                        store: "parts",
                        source: "Server returned non-2xx status code: 400 Bad Request: <Code>InvalidBlockList</Code>"
                            .into(),
                    },
                    _ => Error::NotFound { path: what, source },
                },
                error => error,
            });
        }
        if self.is_done {
            request.await?;
        }
        let source = Box::new(Transient { what, after: None });
        Err(Error::Generic { store: "parts", source })
    }
}

#[async_trait]
impl MultipartStore for Parts {
    async fn create_multipart(&self, path: &Path) -> Result<String> {
        self.first("create".to_owned(), self.memory.create_multipart(path)).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &String,
        index: usize,
        data: PutPayload,
    ) -> Result<object_store::multipart::PartId> {
        self.first(format!("part {index}"), self.memory.put_part(path, id, index, data)).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &String,
        parts: Vec<object_store::multipart::PartId>,
    ) -> Result<PutResult> {
        self.first("complete".to_owned(), self.memory.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &String) -> Result<()> {
        self.first("abort".to_owned(), self.memory.abort_multipart(path, id)).await
    }
}

#[tokio::test]
async fn each_part_of_an_upload_is_sent_again() {
    for (is_done, service) in [(false, Service::S3), (true, Service::S3), (true, Service::Azure)] {
        let world = World::new(|_| None);
        let memory = InMemory::clone(&world.memory);
        let parts = Arc::new(Parts { memory, is_done, service, tried: Mutex::default() });
        let Patience(core) = &world.store;
        let around = Around {
            inner: Arc::clone(&core.inner),
            parts: Some(Arc::clone(&parts) as _),
            renewal: None,
            explainer: Explainer {
                service,
                authority: "s3://b".to_owned(),
                sign_in: "nobody".to_owned(),
                skew: Skew::default(),
            },
            limits: Limits::default(),
            timer: Arc::clone(&world.timer) as _,
        };
        let store = Patience::new(around);
        let mut upload = store.put_multipart(&"big".into()).await.unwrap();
        for part in ["one", "two", "three"] {
            upload.put_part(part.into()).await.unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(world.bytes("big").await, b"onetwothree", "{is_done} {service:?}");
        assert_eq!(parts.tried.lock().unwrap().len(), 10, "each request twice, {is_done}");
    }
}
