//! `Maintenance.Snapshot`: the whole state as a file, in blobs, for `snapshot save`.
//!
//! A thread of its own reads the state and waits while the client takes what was read: what is in memory at a time are the
//! blobs in [`WAITING_BLOBS`] and the one being made.

use std::sync::Arc;

use kontiki_api::rpc;
use kontiki_store::{SnapshotBlob, SnapshotStream, StoreError};
use tokio::sync::mpsc;
use tonic::Status;

use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::{errors, metrics};

/// Blobs that wait for the client.
const WAITING_BLOBS: usize = 2;

/// Sends the blobs to a gRPC client.
pub(crate) async fn serve(
    front: &Arc<Front>,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let message = requests.only().await?;
    counters.received(message.len());
    let _: rpc::SnapshotRequest = grpc::decode(message)?;
    let mut blobs = Blobs::begin(front).await?;
    while let Some(response) = blobs.next().await? {
        let message = grpc::encode(&response);
        counters.sent(1, message.len());
        answers.ready().await?;
        answers.send(message)?;
    }
    Ok(())
}

/// A snapshot on its way, as messages.
pub(crate) struct Blobs {
    blobs: mpsc::Receiver<Result<SnapshotBlob, StoreError>>,
    version: String,
}

impl Blobs {
    /// Takes a snapshot that holds what was acknowledged before the call, and begins to read it.
    pub(crate) async fn begin(front: &Front) -> Result<Blobs, Status> {
        let stream = front.store.snapshot_stream().await.map_err(errors::store)?;
        let header = stream.header();
        tracing::info!(
            index = header.index,
            revision = header.revision,
            bytes = stream.estimated_bytes(),
            "sending a snapshot to a client"
        );
        let (sender, blobs) = mpsc::channel(WAITING_BLOBS);
        tokio::task::spawn_blocking(move || read(stream, &sender));
        Ok(Blobs { blobs, version: front.settings.versions.storage.clone() })
    }

    /// The next message; none behind the digest. Without a header, as etcd's.
    pub(crate) async fn next(&mut self) -> Result<Option<rpc::SnapshotResponse>, Status> {
        let Some(blob) = self.blobs.recv().await else { return Ok(None) };
        let SnapshotBlob { bytes, remaining } = blob.map_err(errors::store)?;
        let version = self.version.clone();
        Ok(Some(rpc::SnapshotResponse { header: None, remaining_bytes: remaining, blob: bytes, version }))
    }
}

/// Reads until everything is sent or nobody takes it any more.
fn read(mut stream: SnapshotStream, sender: &mpsc::Sender<Result<SnapshotBlob, StoreError>>) {
    loop {
        let blob = match stream.next_blob() {
            Ok(Some(blob)) => Ok(blob),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let failed = blob.is_err();
        if sender.blocking_send(blob).is_err() || failed {
            return;
        }
    }
}
