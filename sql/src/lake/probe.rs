//! Whether a place can be written, tried without leaving anything behind.

use std::path::{Path as DiskPath, PathBuf};

use object_store::{Error as StoreError, ObjectStoreExt};

use super::apart::{put_twice, replaced};
use super::place::Place;
use super::trouble::Trouble;
use crate::{Error, Result};

impl Place {
    /// The URL of the container, bucket, host or disk.
    #[must_use]
    pub fn authority(&self) -> &str {
        super::rules::authority(self.url())
    }

    /// How many folders and files are directly below it, asked by those who are going to write there.
    ///
    /// # Errors
    /// When the store does not answer; what is missing is then said as of writing.
    pub async fn count_entries(&self) -> Result<usize> {
        match self.store().list_with_delimiter(Some(self.path())).await {
            Ok(found) => Ok(found.common_prefixes.len() + found.objects.len()),
            Err(StoreError::NotFound { .. }) => Ok(0),
            Err(error) => Err(match self.failed(error) {
                Error::Access(Trouble { kind, to_writers: Some(message), .. }) => {
                    Error::Access(Trouble::new(kind, message))
                }
                error => error,
            }),
        }
    }

    /// Writes the object `name` below it twice, such that the second time must fail, and deletes it again. Then commits
    /// are safe there: of two writers one is told that it was slower.
    ///
    /// # Errors
    /// When writing or deleting is refused; [`super::TroubleKind::NoConditionalPut`] when the second one replaced the first.
    pub async fn probe(&self, name: &str) -> Result<()> {
        let made = self.on_disk().map(|path| missing(&path)).unwrap_or_default();
        let object = self.path().clone().join(name);
        let store = self.store().as_ref();
        let tried = match put_twice(store, &object).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Access(replaced(self.uri()))),
            Err(error) => Err(self.failed(error)),
        };
        let deleted = match store.delete(&object).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            deleted => deleted.map_err(|error| self.failed(error)),
        };
        for folder in made {
            // Only what is empty goes.
            if std::fs::remove_dir(&folder).is_err() {
                break;
            }
        }
        // What could not be written need not be deleted.
        tried.and(deleted)
    }
}

/// The folders of a path that are not there, the innermost first.
fn missing(path: &DiskPath) -> Vec<PathBuf> {
    path.ancestors().take_while(|folder| !folder.exists()).map(DiskPath::to_path_buf).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::lake::{Access, Lake, LakeOptions, Layer, TroubleKind};
    use async_trait::async_trait;
    use object_store::path::Path;
    use object_store::{ObjectStore, PutMode, PutOptions, PutPayload, PutResult};

    #[tokio::test]
    async fn a_probe_leaves_nothing_not_even_folders() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::new(LakeOptions::default()).unwrap();
        let uri = folder.path().join("a/b");
        let place = lake.locate(uri.to_str().unwrap(), Access::Write).await.unwrap();
        assert_eq!(place.count_entries().await.unwrap(), 0);
        place.probe(".limno-probe-1").await.unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        std::fs::create_dir_all(uri.join("kept")).unwrap();
        place.probe(".limno-probe-1").await.unwrap();
        assert_eq!(place.count_entries().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_may_not_be_changed_is_not_probed() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("dev"), folder.path().join("prod"));
        let writable = Some(vec![ours.to_str().unwrap().to_owned()]);
        let lake = Lake::new(LakeOptions { writable, ..LakeOptions::default() }).unwrap();
        let place = lake.locate(other.to_str().unwrap(), Access::Write).await.unwrap();
        let error = place.probe("x").await.unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        assert!(!other.exists());
        lake.locate(ours.to_str().unwrap(), Access::Write).await.unwrap().probe("x").await.unwrap();
    }

    /// A store that forgets what it was asked not to replace.
    #[derive(Debug)]
    struct Careless(Arc<dyn ObjectStore>);

    impl std::fmt::Display for Careless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("careless")
        }
    }

    #[async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(&self, at: &Path, payload: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
            self.0.put_opts(at, payload, PutOptions::from(PutMode::Overwrite)).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: object_store::PutMultipartOptions,
        ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
            self.0.put_multipart_opts(at, options).await
        }

        async fn get_opts(
            &self,
            at: &Path,
            options: object_store::GetOptions,
        ) -> object_store::Result<object_store::GetResult> {
            self.0.get_opts(at, options).await
        }

        fn delete_stream(
            &self,
            at: futures::stream::BoxStream<'static, object_store::Result<Path>>,
        ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
            self.0.delete_stream(at)
        }

        fn list(
            &self,
            prefix: Option<&Path>,
        ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
            self.0.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<object_store::ListResult> {
            self.0.list_with_delimiter(prefix).await
        }

        async fn copy_opts(
            &self,
            from: &Path,
            to: &Path,
            options: object_store::CopyOptions,
        ) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    struct Carelessly;

    impl Layer for Carelessly {
        fn around(&self, store: Arc<dyn ObjectStore>, _: &str) -> Arc<dyn ObjectStore> {
            Arc::new(Careless(store))
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_keep_writers_apart_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let layer: Option<Arc<dyn Layer>> = Some(Arc::new(Carelessly));
        let lake = Lake::new(LakeOptions { layer, ..LakeOptions::default() }).unwrap();
        let place = lake.locate(folder.path().to_str().unwrap(), Access::Write).await.unwrap();
        let error = place.probe("x").await.unwrap_err();
        let crate::Error::Access(trouble) = error else { panic!("{error}") };
        assert_eq!(trouble.kind, TroubleKind::NoConditionalPut);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
