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
        return Err(refused(
            "a location holds no query, fragment or password; put a signature into a [store.NAME] block".to_owned(),
        ));
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
            Ok(Location { service, url: trimmed(lower_host(url)) })
        }
    }
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
    // What is there is called by its one name, so that a link and its target are the same table.
    let path: PathBuf = match path.canonicalize() {
        Ok(path) => path,
        Err(_) => std::path::absolute(path).map_err(|error| no_path(error.to_string()))?,
    };
    let url = Url::from_file_path(&path).map_err(|()| no_path("its path is not absolute".to_owned()))?;
    Ok(Location { service: Service::Disk, url: trimmed(url) })
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
            ("az://ml/a", Service::Azure, "az://ml/a"),
            ("s3://bucket/t", Service::S3, "s3://bucket/t"),
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
    fn what_is_no_place_is_refused_without_showing_signatures() {
        for uri in ["hdfs://x/y", "http://example.com/a.parquet", "abfss:///x", "file://host/x"] {
            assert!(parse(uri).is_err(), "{uri}");
        }
        let message = parse("https://example.com/a.parquet?sv=1&sig=abcdef").unwrap_err().to_string();
        assert!(!message.contains("abcdef") && message.contains("[store.NAME]"), "{message}");
    }
}
