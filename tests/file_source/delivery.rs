//! A file as it is delivered, in a directory of its own, and the source that reads it.

use std::path::Path;
use std::sync::Arc;

use rollcall::domain::entry::{Batch, Received};
use rollcall::domain::id::SourceName;
use rollcall::sources::file::{Completeness, File, Format, Limits, Settings};
use rollcall::sources::{Listing, ListingScope, Source, SourceError};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

pub(super) const PEOPLE: &str = "id,firm_id,firm,mail,given,roles\n\
    p1,f1,Example Bridge,avery@bridge.example,Avery,member; manager\n\
    p2,f1,Example Bridge,blake@bridge.example,Blake,\n\
    p3,f2,\"Sample, Paving\",\"casey@paving.example\",\"Ca\"\"sey\nLine\",member\n";

pub(super) struct Delivery {
    directory: tempfile::TempDir,
    pub(super) settings: Settings,
}

impl Delivery {
    pub(super) fn new(format: Format, content: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("people.txt");
        std::fs::write(&path, content).expect("written");
        let settings = Settings {
            name: SourceName::parse("delivery").expect("valid"),
            path,
            format,
            external_id: "id".into(),
            organization: Some("firm_id".into()),
            organization_name: Some("firm".into()),
            wanted: ["mail", "given", "roles"].map(Arc::from).into(),
            separator: ";".into(),
            separated_columns: vec!["roles".into()],
            completeness: Completeness::Any,
            limits: Limits::default(),
        };
        Self { directory, settings }
    }

    pub(super) fn csv(content: impl AsRef<[u8]>) -> Self {
        Self::new(Format::Csv, content)
    }

    pub(super) fn with_checksum(self) -> Self {
        let sum = Sha256::digest(std::fs::read(&self.settings.path).expect("read"));
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        self.with_checksum_file(&format!("{sum}  people.txt\n"))
    }

    pub(super) fn with_checksum_file(self, text: &str) -> Self {
        std::fs::write(self.directory.path().join("people.txt.sha256"), text).expect("written");
        self
    }

    pub(super) fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    pub(super) fn source(&self) -> File {
        File::new(self.settings.clone())
    }

    pub(super) async fn list(&self) -> Result<(Listing, Vec<Received>), SourceError> {
        self.list_scope(ListingScope::Source).await
    }

    pub(super) async fn list_scope(&self, scope: ListingScope) -> Result<(Listing, Vec<Received>), SourceError> {
        let (sender, receiver) = mpsc::channel(2);
        let source = self.source();
        let (listing, batches) = tokio::join!(source.list(&scope, sender), collect(receiver));
        let listing = listing?;
        assert_eq!(batches.iter().map(|batch| batch.pages).sum::<u64>(), 1);
        Ok((listing, batches.into_iter().flat_map(|batch| batch.entries).collect()))
    }

    pub(super) async fn error(&self) -> SourceError {
        match self.list().await {
            Err(error) => error,
            Ok((listing, _)) => panic!("it was read: {listing:?}"),
        }
    }
}

pub(super) async fn collect(mut receiver: mpsc::Receiver<Batch>) -> Vec<Batch> {
    let mut batches = Vec::new();
    while let Some(batch) = receiver.recv().await {
        assert!(batch.entries.len() <= 1000);
        batches.push(batch);
    }
    batches
}
