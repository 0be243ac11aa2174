//! From the text of a location to a URL in one spelling.

use std::path::{Path, PathBuf};

use url::Url;

use crate::{Error, Result};

/// Which service holds a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A disk of this machine.
    Disk,
    /// Azure Blob Storage, ADLS Gen2 included.
    Azure,
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// A web server, for single files.
    Web,
    /// A table or schema of Unity Catalog, which knows where its files are.
    Unity,
}

impl Service {
    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "file" => Some(Self::Disk),
            "abfss" | "abfs" | "az" | "azure" | "adl" | "wasb" | "wasbs" => Some(Self::Azure),
            "s3" | "s3a" => Some(Self::S3),
            "gs" => Some(Self::Gcs),
            "https" | "http" => Some(Self::Web),
            "uc" => Some(Self::Unity),
            _ => None,
        }
    }
}

/// The schemes of tables in object stores.
pub(super) const TABLE_SCHEMES: [&str; 11] =
    ["file", "abfss", "abfs", "az", "azure", "adl", "wasb", "wasbs", "s3", "s3a", "gs"];

/// A location in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) service: Service,
    /// Without a slash at its end.
    pub(super) url: Url,
}

/// Reads a URI or a path.
pub(super) fn parse(uri: &str) -> Result<Location> {
    let refused = |message: String| Error::Unsupported { uri: shown(uri), message };
    let url = match Url::parse(uri) {
        // One letter is a drive, not a scheme.
        Ok(url) if url.scheme().len() > 1 && uri.contains("://") => url,
        _ => return disk(uri, Path::new(uri)),
    };
    let Some(service) = Service::of(url.scheme()) else {
        return Err(refused(format!(
            "{}:// is no place that tables are read from; known are paths, file://, abfss://, abfs://, az://, adl://, \
             s3://, gs://, uc://, and https:// for single files",
            url.scheme()
        )));
    };
    if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
        let way = match service {
            Service::Azure => "put a shared access signature into a [store.NAME] block as sas_token",
            Service::Web if azure_of_web(&url).is_some() => {
                "put a shared access signature into a [store.NAME] block as sas_token"
            }
            Service::Web => {
                "links that are signed end and are read by anyone: name the bucket (s3://, gs://) and sign in"
            }
            _ => "who signs in is said in a [store.NAME] block",
        };
        return Err(refused(format!("a location holds no query, fragment or password; {way}")));
    }
    match service {
        Service::Disk => {
            let path = url.to_file_path().map_err(|()| refused("the file URL has a host".to_owned()))?;
            disk(uri, &path)
        }
        Service::Web => {
            if let Some(url) = azure_of_web(&url) {
                return Ok(Location { service: Service::Azure, url: trimmed(url) });
            }
            let is_local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
            if url.scheme() == "http" && !is_local {
                return Err(refused("http:// is readable on the way; write https://".to_owned()));
            }
            Ok(Location { service, url: trimmed(url) })
        }
        Service::Azure | Service::S3 | Service::Gcs | Service::Unity => {
            if url.host_str().is_none_or(str::is_empty) {
                return Err(refused(format!("it names no {}", container_word(service))));
            }
            Ok(Location { service, url: trimmed(canonical(&lower_host(url))) })
        }
    }
}

/// The one scheme of those that mean the same: one place has one name, whoever writes it.
fn canonical_scheme(scheme: &str, names_account: bool) -> &str {
    match scheme {
        "s3a" => "s3",
        "abfs" | "abfss" | "wasb" | "wasbs" | "az" | "azure" | "adl" if names_account => "abfss",
        "abfs" | "abfss" | "wasb" | "wasbs" | "azure" | "adl" => "az",
        other => other,
    }
}

/// A location of an object store with the one scheme and the one host of its kind.
fn canonical(url: &Url) -> Url {
    let scheme = canonical_scheme(url.scheme(), !url.username().is_empty());
    let rest = &url[url::Position::AfterScheme..];
    let mut canonical = Url::parse(&format!("{scheme}{rest}")).unwrap_or_else(|_| url.clone());
    // `.blob.` is the other end of the same account.
    if scheme == "abfss"
        && let Some((account, domain)) = url.host_str().and_then(|host| host.split_once(".blob."))
        && canonical.set_host(Some(&format!("{account}.dfs.{domain}"))).is_err()
    {
        return url.clone();
    }
    canonical
}

/// A location as rules compare it: scheme, container and host, and the path as stores have it, without escapes.
pub(super) fn plain(url: &Url) -> String {
    let path = object_store::path::Path::from_url_path(url.path());
    let path = path.map_or_else(|_| url.path().trim_matches('/').to_owned(), String::from);
    joined(&url[..url::Position::BeforePath], &path)
}

/// The same of a path in the store of this container, bucket, host or disk.
pub(super) fn joined(authority: &str, path: &str) -> String {
    if path.is_empty() { authority.to_owned() } else { format!("{authority}/{path}") }
}

/// As [`parse`], of what the URIs of a store begin with: a location, or a whole scheme.
pub(super) fn parse_prefix(prefix: &str) -> Result<(Service, String)> {
    if let Some(scheme) = prefix.strip_suffix("://") {
        let scheme = scheme.to_ascii_lowercase();
        return match Service::of(&scheme) {
            // Those of `az://` name no account, as a rule.
            Some(service) => Ok((service, format!("{}://", canonical_scheme(&scheme, !is_bare(&scheme))))),
            // Says which are known.
            None => parse(&format!("{prefix}unknown")).map(|location| (location.service, prefix.to_owned())),
        };
    }
    let location = parse(prefix)?;
    Ok((location.service, plain(&location.url)))
}

/// Whether the schemes of Azure's containers are written without an account.
fn is_bare(scheme: &str) -> bool {
    matches!(scheme, "az" | "azure" | "adl")
}

/// What a service calls the place that holds objects.
pub(super) const fn container_word(service: Service) -> &'static str {
    match service {
        Service::Azure => "container",
        Service::S3 | Service::Gcs => "bucket",
        Service::Unity => "catalog",
        Service::Disk | Service::Web => "host",
    }
}

/// `https://account.dfs.core.windows.net/container/path`, as portals show it, is a location of Azure.
fn azure_of_web(url: &Url) -> Option<Url> {
    let host = url.host_str()?;
    let account = host.strip_suffix(".dfs.core.windows.net").or_else(|| host.strip_suffix(".blob.core.windows.net"))?;
    let (container, path) =
        url.path().trim_start_matches('/').split_once('/').unwrap_or((url.path().trim_matches('/'), ""));
    Url::parse(&format!("abfss://{container}@{account}.dfs.core.windows.net/{path}")).ok()
}

/// Hosts of schemes that the standard does not know keep their letters, but mean the same in any case.
fn lower_host(url: Url) -> Url {
    let lower = url.host_str().map(str::to_ascii_lowercase);
    let mut lowered = url.clone();
    match lowered.set_host(lower.as_deref()) {
        Ok(()) => lowered,
        Err(_) => url,
    }
}

fn trimmed(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

fn disk(uri: &str, path: &Path) -> Result<Location> {
    let no_path = |message: String| Error::NotATable { uri: uri.to_owned(), message };
    let path = std::path::absolute(path).map_err(|error| no_path(error.to_string()))?;
    let path = real(&path);
    let url = Url::from_file_path(&path).map_err(|()| no_path("its path is not absolute".to_owned()))?;
    Ok(Location { service: Service::Disk, url: trimmed(url) })
}

/// What is there is called by its one name, so that a link and its target are the same table; and so is what will be there
/// below it.
fn real(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    known.map_or_else(
        || path.to_owned(),
        |(folder, real)| match path.strip_prefix(folder) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => real.join(rest),
            Err(_) => path.to_owned(),
        },
    )
}

/// A URL whose container stands before its host and not in its user part, which scans of Delta tables leave out:
/// `abfss://ml@account.host` becomes `abfss://ml.account.host`. Names of containers have no dots.
pub(super) fn container_in_host(url: &Url) -> Url {
    let mut moved = url.clone();
    let host = match (url.username(), url.host_str()) {
        ("", _) | (_, None) => return moved,
        (container, Some(host)) => format!("{container}.{host}"),
    };
    let is_moved = moved.set_username("").is_ok() && moved.set_host(Some(&host)).is_ok();
    if is_moved { moved } else { url.clone() }
}

/// The URL that [`container_in_host`] was given. Without a container, a URL of Azure has no dot in its host.
pub(super) fn container_in_user(url: &Url) -> Url {
    let mut moved = url.clone();
    if Service::of(url.scheme()) != Some(Service::Azure) || !url.username().is_empty() {
        return moved;
    }
    let Some((container, host)) = url.host_str().and_then(|host| host.split_once('.')) else { return moved };
    let is_moved = moved.set_host(Some(host)).is_ok() && moved.set_username(container).is_ok();
    if is_moved { moved } else { url.clone() }
}

/// A location as it may be shown: without what could be a signature or a password.
pub(super) fn shown(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(mut url) if uri.contains("://") && (url.query().is_some() || url.password().is_some()) => {
            url.set_query(None);
            let is_bare = url.set_password(None).is_ok();
            if is_bare { url.to_string() } else { url.scheme().to_owned() }
        }
        _ => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_place() {
        for (uri, service, url) in [
            ("abfss://ml@Acc.dfs.core.windows.net/a/b/", Service::Azure, "abfss://ml@acc.dfs.core.windows.net/a/b"),
            ("https://acc.blob.core.windows.net/ml/a b", Service::Azure, "abfss://ml@acc.dfs.core.windows.net/a%20b"),
            ("abfs://ml@acc.blob.core.windows.net/a", Service::Azure, "abfss://ml@acc.dfs.core.windows.net/a"),
            ("wasbs://ml@acc.blob.core.windows.net/a", Service::Azure, "abfss://ml@acc.dfs.core.windows.net/a"),
            ("az://ml@acc.dfs.core.windows.net/a", Service::Azure, "abfss://ml@acc.dfs.core.windows.net/a"),
            ("az://ml/a", Service::Azure, "az://ml/a"),
            ("adl://ml/a", Service::Azure, "az://ml/a"),
            ("abfss://ml/a", Service::Azure, "az://ml/a"),
            ("s3://bucket/t", Service::S3, "s3://bucket/t"),
            ("s3a://bucket/t", Service::S3, "s3://bucket/t"),
            ("gs://bucket", Service::Gcs, "gs://bucket"),
            ("https://example.com/x/y.parquet", Service::Web, "https://example.com/x/y.parquet"),
            ("uc://main.risk.scores", Service::Unity, "uc://main.risk.scores"),
        ] {
            assert_eq!(parse(uri).unwrap(), Location { service, url: Url::parse(url).unwrap() }, "{uri}");
        }
        let folder = parse("/no/such folder/").unwrap();
        assert_eq!((folder.service, folder.url.as_str()), (Service::Disk, "file:///no/such%20folder"));
    }

    #[test]
    fn containers_go_into_the_host_and_back() {
        for (url, moved) in [
            ("abfss://ml@acc.dfs.core.windows.net/a/b", "abfss://ml.acc.dfs.core.windows.net/a/b"),
            ("az://ml/a", "az://ml/a"),
            ("s3://my.bucket/a", "s3://my.bucket/a"),
            ("file:///a", "file:///a"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(container_in_host(&url).as_str(), moved);
            assert_eq!(container_in_user(&container_in_host(&url)), url);
            assert_eq!(container_in_user(&url), url);
        }
    }

    #[test]
    fn stores_are_named_by_what_their_tables_begin_with() {
        for (prefix, service, spelled) in [
            ("s3://", Service::S3, "s3://"),
            ("s3a://", Service::S3, "s3://"),
            ("abfss://", Service::Azure, "abfss://"),
            ("wasbs://", Service::Azure, "abfss://"),
            ("az://", Service::Azure, "az://"),
            ("gs://b/my%20folder", Service::Gcs, "gs://b/my folder"),
            ("gs://b/größe", Service::Gcs, "gs://b/größe"),
            ("uc://Main", Service::Unity, "uc://main"),
            ("gs://b/a/", Service::Gcs, "gs://b/a"),
            ("https://acc.dfs.core.windows.net/ml", Service::Azure, "abfss://ml@acc.dfs.core.windows.net"),
            ("a/path", Service::Disk, ""),
        ] {
            let (found, text) = parse_prefix(prefix).unwrap();
            assert_eq!(found, service, "{prefix}");
            assert!(spelled.is_empty() || text == spelled, "{text}");
        }
        for prefix in ["hdfs://", "hdfs://x", "s3://b?sig=1"] {
            assert!(parse_prefix(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_without_showing_signatures() {
        for uri in ["hdfs://x/y", "http://example.com/a.parquet", "abfss:///x", "file://host/x"] {
            assert!(parse(uri).is_err(), "{uri}");
        }
        for (uri, way) in [
            ("https://acc.blob.core.windows.net/ml/t?sv=1&sig=abcdef", "[store.NAME] block as sas_token"),
            ("abfss://ml@acc.dfs.core.windows.net/t?sv=1&sig=abcdef", "[store.NAME] block as sas_token"),
            ("https://b.s3.amazonaws.com/a.parquet?X-Amz-Signature=abcdef", "name the bucket (s3://, gs://)"),
        ] {
            let message = parse(uri).unwrap_err().to_string();
            assert!(!message.contains("abcdef") && message.contains(way), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_not_there_yet_has_the_name_that_it_will_have() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let named = |path: &Path| parse(path.to_str().unwrap()).unwrap().url;
        let before = named(&link.join("out/m"));
        assert_eq!(before, named(&real.join("out/m")));
        std::fs::create_dir_all(link.join("out/m")).unwrap();
        assert_eq!(named(&link.join("out/m")), before);
    }

    #[test]
    fn a_location_and_a_path_in_its_store_compare_alike() {
        for (uri, authority, path) in [
            ("/a b/größe/x%20y", "file://", "a b/größe/x%20y"),
            (
                "abfss://ml@acc.dfs.core.windows.net/Finanz Daten/",
                "abfss://ml@acc.dfs.core.windows.net",
                "Finanz Daten",
            ),
            ("s3://b/a%20b", "s3://b", "a b"),
            ("gs://b", "gs://b", ""),
        ] {
            assert_eq!(plain(&parse(uri).unwrap().url), joined(authority, path), "{uri}");
        }
    }
}
