//! Which store answers for which URL: what a catalog said of a table, a block of the configuration, or the environment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use url::Url;

use super::Layer;
use super::apart::Apart;
use super::held::Held;
use super::location::{self, Service};
use super::options::StoreOptions;
use super::patience::{Around, Patience};
use super::provider;
use super::reading::Reading;
use super::s3;
use super::timer::Machine;
use super::trouble::Explainer;
use crate::{Error, Result};

/// A store that answers for some URLs.
pub(super) struct Reached {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store where each request takes its time, for reading ahead; `None` for disks.
    pub(super) reading: Option<Arc<Reading>>,
    /// Who signs in, in words.
    pub(super) sign_in: String,
    /// Where nobody promises that a put can be made to replace nothing, what is known of it.
    pub(super) apart: Option<Apart>,
}

/// What a catalog handed out.
struct HandedOut {
    /// The place of the table's files.
    prefix: String,
    reached: Arc<Reached>,
    /// Whether it may be changed, as the table is below one of the places that may, by its name in the catalog.
    is_writable: bool,
}

/// The block, or none for the environment, and the container.
type Key = (Option<usize>, String);

/// All that is known of who answers for what.
pub(super) struct Rules {
    blocks: Vec<StoreOptions>,
    /// What a catalog handed out, each for the files of one table.
    handed_out: Mutex<Vec<HandedOut>>,
    open: Mutex<HashMap<Key, Arc<Reached>>>,
    /// Below which URLs anything may be changed; `None` for everywhere.
    writable: Option<Vec<String>>,
    layer: Option<Arc<dyn Layer>>,
    held: Arc<Held>,
}

impl Rules {
    pub(super) fn new(
        blocks: Vec<StoreOptions>,
        writable: Option<&[String]>,
        layer: Option<Arc<dyn Layer>>,
        held: Arc<Held>,
    ) -> Result<Self> {
        let spelled = |uri: &String| Ok(location::plain(&location::parse(uri)?.url));
        Ok(Self {
            blocks: blocks.into_iter().map(|block| StoreOptions { url: spelled_prefix(&block.url), ..block }).collect(),
            handed_out: Mutex::default(),
            open: Mutex::default(),
            writable: writable.map(|places| places.iter().map(spelled).collect::<Result<_>>()).transpose()?,
            layer,
            held,
        })
    }

    /// The store of a location, as [`location::plain`] spells it.
    pub(super) fn reach(&self, url: &str) -> Result<Arc<Reached>> {
        if let Some(reached) = self.handed_out_for(url, |handed_out| Arc::clone(&handed_out.reached)) {
            return Ok(reached);
        }
        let parsed = Url::parse(authority_of(url))
            .map_err(|error| Error::Unsupported { uri: location::shown(url), message: error.to_string() })?;
        let blocks = self.blocks.iter().enumerate().filter(|(_, block)| is_below(url, &block.url));
        let block = blocks.max_by_key(|(_, block)| block.url.len());
        let key = (block.map(|(index, _)| index), authority(&parsed).to_owned());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reached) = open.get(&key) {
            return Ok(Arc::clone(reached));
        }
        let service = location::parse(parsed.as_str())?.service;
        let of_environment = StoreOptions::new("environment", "");
        let options = block.map_or(&of_environment, |(_, block)| block);
        let opened = provider::open(service, &parsed, options, block.is_some())?;
        let reached = Arc::new(self.dressed(service, &key.1, opened, options));
        open.insert(key, Arc::clone(&reached));
        Ok(reached)
    }

    /// The store with all that stands around every store.
    fn dressed(&self, service: Service, authority: &str, opened: provider::Opened, options: &StoreOptions) -> Reached {
        let provider::Opened { store, parts, sign_in, skew, renewal } = opened;
        // Uploads by the numbers of their parts would go past the layer.
        let (inner, parts, limits) = match &self.layer {
            Some(layer) => (layer.around(store, authority), None, layer.limits(options.limits)),
            None => (store, parts, options.limits),
        };
        let explainer = Explainer { service, authority: authority.to_owned(), sign_in: sign_in.clone(), skew };
        let timer = Arc::new(Machine::start());
        let store = Patience::new(Around { inner, parts, renewal, explainer, limits, timer });
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        // On a disk a request costs nothing, and the files lie in the memory of the operating system already.
        if service == Service::Disk && self.layer.is_none() {
            return Reached { store, reading: None, sign_in, apart: None };
        }
        let apart = (service == Service::S3 && s3::is_foreign(options)).then(Apart::default);
        let reading = Arc::new(Reading::around(store, authority, Arc::clone(&self.held)));
        Reached { store: Arc::clone(&reading) as _, reading: Some(reading), sign_in, apart }
    }

    /// What was handed out for the longest prefix of the URL.
    fn handed_out_for<T>(&self, url: &str, what: impl Fn(&HandedOut) -> T) -> Option<T> {
        let handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        let below = handed_out.iter().filter(|handed_out| is_below(url, &handed_out.prefix));
        below.max_by_key(|handed_out| handed_out.prefix.len()).map(what)
    }

    /// From now on, what lies below this URL is reached by what a catalog handed out.
    pub(super) fn hand_out(
        &self,
        url: &Url,
        service: Service,
        opened: provider::Opened,
        options: &StoreOptions,
        is_writable: bool,
    ) {
        let reached = Arc::new(self.dressed(service, authority(url), opened, options));
        let mut handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = location::plain(url);
        handed_out.retain(|known| known.prefix != prefix);
        handed_out.push(HandedOut { prefix, reached, is_writable });
    }

    /// The block of the configuration for a location, as [`location::plain`] spells it.
    pub(super) fn block(&self, url: &str) -> Option<&StoreOptions> {
        self.blocks.iter().filter(|block| is_below(url, &block.url)).max_by_key(|block| block.url.len())
    }

    /// Asks of a location, as [`location::plain`] spells it.
    ///
    /// # Errors
    /// When it lies outside of all that may be changed.
    pub(super) fn check_writable(&self, url: &str) -> Result<()> {
        match &self.writable {
            Some(places)
                if !places.iter().any(|place| is_below(url, place))
                    && self.handed_out_for(url, |handed_out| handed_out.is_writable) != Some(true) =>
            {
                Err(Error::ReadOnly { uri: location::shown(url), places: places.join(", ") })
            }
            _ => Ok(()),
        }
    }
}

/// A prefix in one spelling; what is none is found to be none by those who read the configuration.
fn spelled_prefix(url: &str) -> String {
    location::parse_prefix(url).map_or_else(|_| url.to_owned(), |(_, spelled)| spelled)
}

/// What stands before the path.
fn authority_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |at| &url[..start + at])
}

/// Whether a URL is a prefix or lies below it. `a/bc` does not lie below `a/b`.
pub(super) fn is_below(url: &str, prefix: &str) -> bool {
    let Some(rest) = url.strip_prefix(prefix) else { return false };
    // A table of a catalog, `uc://main.risk.scores`, lies below its schema and its catalog.
    let separators: &[char] = if prefix.starts_with("uc://") { &['.'] } else { &['/'] };
    rest.is_empty() || prefix.ends_with("://") || rest.starts_with(separators)
}

/// Scheme, container and host of a URL.
pub(super) fn authority(url: &Url) -> &str {
    &url[..url::Position::BeforePath]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Arc<Held> {
        Arc::new(Held::new(0))
    }

    #[test]
    fn a_prefix_ends_where_a_name_ends() {
        assert!(is_below("s3://b/a/t", "s3://b/a") && is_below("s3://b/a", "s3://b/a"));
        assert!(!is_below("s3://b/ab", "s3://b/a") && !is_below("s3://b2/a", "s3://b"));
        assert!(is_below("s3://b/x", "s3://"));
        assert!(is_below("uc://main.risk.scores", "uc://main.risk") && !is_below("uc://mainly.x.y", "uc://main"));
    }

    #[test]
    fn the_longest_prefix_answers() {
        let mut inner = StoreOptions::new("inner", "s3://b/private/");
        inner.sign_in = super::super::SignIn::Anonymous;
        let mut outer = StoreOptions::new("outer", "s3://b");
        outer.sign_in = super::super::SignIn::AccessKey {
            id: "AKIA".to_owned(),
            secret: crate::secret::Secret::new("a-long-secret"),
            session_token: None,
        };
        let rules = Rules::new(vec![outer, inner], None, None, held()).unwrap();
        assert_eq!(rules.reach("s3://b/private/t").unwrap().sign_in, "anonymously of [store.inner]");
        assert_eq!(rules.reach("s3://b/t").unwrap().sign_in, "access key AKIA of [store.outer]");
        assert!(Arc::ptr_eq(&rules.reach("s3://b/t").unwrap(), &rules.reach("s3://b/u").unwrap()));
    }

    #[test]
    fn names_with_spaces_and_letters_of_all_kinds_are_compared_as_they_are() {
        let mut block = StoreOptions::new("lake", "s3://b/Finanz Daten/größe");
        block.sign_in = super::super::SignIn::Anonymous;
        let rules = Rules::new(vec![block], Some(&["/tmp/My Dir/dev".to_owned()]), None, held()).unwrap();
        // As a scan asks, whose paths have no escapes, and with what else may stand in the name of an object.
        for path in ["s3://b/Finanz Daten/größe/t", "s3://b/Finanz Daten/größe/a?b#c%20d"] {
            assert_eq!(rules.reach(path).unwrap().sign_in, "anonymously of [store.lake]");
        }
        assert!(rules.check_writable("file:///tmp/My Dir/dev/t/_delta_log/0.json").is_ok());
        assert!(rules.check_writable("file:///tmp/My Dir/prod").is_err());
    }

    #[test]
    fn what_is_not_ours_is_not_changed() {
        let rules = Rules::new(Vec::new(), Some(&["s3://dev/out".to_owned()]), None, held()).unwrap();
        assert!(rules.check_writable("s3://dev/out/t/f").is_ok());
        for other in ["s3://dev/outer/t", "s3://prod/out/t"] {
            assert!(rules.check_writable(other).unwrap_err().to_string().contains("read-only"), "{other}");
        }
    }
}
