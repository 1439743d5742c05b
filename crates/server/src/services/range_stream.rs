//! `KV.RangeStream`: a range in chunks that a client can take in as they come.
//!
//! Chunks are read from storage by a task of their own while the one before is on its way: one waits, one is being read, not
//! more. All are of one revision. A client that takes nothing for a while gives back what its place costs; where the revision
//! is compacted meanwhile, the stream ends with that.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use kontiki_api::rpc;
use kontiki_kv::{Failure, RangePages};
use prost::Message;
use tokio::sync::mpsc;
use tonic::Status;

use crate::access;
use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::methods::Method;
use crate::services::pair_wire::{Pair, open};
use crate::services::range;
use crate::services::turns::Turn;
use crate::{convert, errors, metrics};

/// What a stream holds at most, in MiB: a chunk that is read, one that waits, and one that is written.
const WEIGHT: u32 = 4;
/// Keys in the first chunk.
const FIRST_CHUNK: usize = 10;
/// Room before a chunk for what says how long it is.
const ROOM: usize = grpc::PREFIX + 6;

const RANGE_RESPONSE: u32 = 1;
const KVS: u32 = 2;

/// Sends the chunks.
pub(crate) async fn serve(
    front: &Arc<Front>,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let message = requests.only().await?;
    counters.received(message.len());
    let request: rpc::RangeRequest = grpc::decode(message)?;
    refuse_unsupported(&request)?;
    let pass = access::admit(front, Method::RangeStream, &request).await?;
    let (sender, mut chunks) = mpsc::channel(1);
    tokio::spawn(pump(Arc::clone(pass.front(front)), request, sender)); // ends when nobody takes its chunks
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        pass.confirm(front)?;
        answers.ready().await?;
        counters.sent(1, chunk.len());
        answers.send(chunk)?;
        tokio::task::yield_now().await; // other calls of the connection have their turn between chunks
    }
    Ok(())
}

/// Reads chunks as they are taken.
async fn pump(front: Arc<Front>, request: rpc::RangeRequest, chunks: mpsc::Sender<Result<Bytes, Status>>) {
    let mut turn = front.turns.try_begin(WEIGHT);
    turn.come().await;
    if let Err(status) = read(&front, request, &mut turn, &chunks).await {
        drop(chunks.send(Err(status)).await); // nobody to tell where the client has gone
    }
}

async fn read(
    front: &Front,
    request: rpc::RangeRequest,
    turn: &mut Turn,
    chunks: &mpsc::Sender<Result<Bytes, Status>>,
) -> Result<(), Status> {
    let failed = |failure: Failure| front.read_failed(failure);
    let request = range::readable(front, request).await?;
    let pages = front.store.reader().pages(request).map_err(failed)?;
    let mut source = Chunks::new(pages, front.settings.request_bytes_max);
    loop {
        let (mut chunk, goes_on) = source.next().map_err(failed)?;
        if !goes_on {
            let (more, count) = source.pages.finish().map_err(failed)?;
            let header = Some(front.header(source.pages.revision()));
            let rest = rpc::RangeResponse { header, more, count, kvs: Vec::new() };
            chunk.reserve(rest.encoded_len());
            rest.encode_raw(&mut chunk);
        }
        let Ok(room) = turn.room(chunks.reserve(), || source.pages.release()).await else { return Ok(()) };
        room.send(Ok(framed(chunk)));
        if !goes_on {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// Orders and filters need the whole range before the first piece.
fn refuse_unsupported(request: &rpc::RangeRequest) -> Result<(), Status> {
    convert::range_request(request.clone()).map_err(errors::operation)?;
    let by_key = request.sort_target == rpc::range_request::SortTarget::Key as i32;
    let descending = request.sort_order == rpc::range_request::SortOrder::Descend as i32;
    if !by_key || descending {
        return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
    }
    let filters =
        [request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision];
    if filters.iter().any(|&filter| filter != 0) {
        return Err(Status::unimplemented("RangeStream does not support revision filters"));
    }
    Ok(())
}

/// The chunks of a range: etcd's rule of how many keys go into one, and a bound in bytes that holds whatever keys come next.
struct Chunks {
    pages: RangePages,
    keys: usize,
    bytes_aim: usize,
}

impl Chunks {
    fn new(pages: RangePages, bytes_aim: usize) -> Chunks {
        Chunks { pages, keys: FIRST_CHUNK, bytes_aim }
    }

    /// A chunk behind some room, and whether there may be keys behind it. The number of keys doubles while chunks stay below
    /// half of the aim, and is halved above twice the aim; a chunk is full at the aim.
    fn next(&mut self) -> Result<(BytesMut, bool), Failure> {
        let mut chunk = BytesMut::zeroed(ROOM);
        let goes_on = self.pages.page(self.keys, self.bytes_aim, |found| Pair::from(found).write(KVS, &mut chunk))?;
        let bytes = chunk.len() - ROOM;
        if bytes < self.bytes_aim / 2 {
            self.keys = self.keys.saturating_mul(2);
        } else if bytes > self.bytes_aim * 2 {
            self.keys = (self.keys / 2).max(1);
        }
        Ok((chunk, goes_on))
    }
}

/// A chunk as a message, with what says how long it is put into the room before it.
fn framed(mut chunk: BytesMut) -> Bytes {
    let length = chunk.len() - ROOM;
    let mut field = BytesMut::with_capacity(ROOM);
    open(RANGE_RESPONSE, length, &mut field);
    let mut head = BytesMut::with_capacity(ROOM);
    grpc::write_prefix(&mut head, field.len() + length);
    head.extend_from_slice(&field);
    let start = ROOM - head.len();
    chunk[start..ROOM].copy_from_slice(&head);
    chunk.advance(start);
    chunk.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kontiki_kv::{Command, KeyRange, Kv, Options, PutRequest, RangeRequest};
    use redb::backends::InMemoryBackend;

    fn filled(keys: usize, value_bytes: usize) -> Kv {
        let mut kv = Kv::open(InMemoryBackend::new(), Options::default()).unwrap();
        for number in 0..keys {
            let value = vec![7; value_bytes].into();
            let put = PutRequest { key: format!("{number:05}").into(), value, ..PutRequest::default() };
            let index = kv.applied().0 + 1;
            kv.batch().apply(index, 1, &Command::Put(put)).unwrap();
        }
        kv
    }

    fn all() -> RangeRequest {
        let range = KeyRange { key: "\0".into(), range_end: "\0".into() };
        RangeRequest { range, ..RangeRequest::default() }
    }

    fn cut(kv: &Kv, bytes_aim: usize) -> Vec<rpc::RangeResponse> {
        let mut chunks = Chunks::new(kv.reader().pages(all()).unwrap(), bytes_aim);
        let mut cut = Vec::new();
        loop {
            let (chunk, goes_on) = chunks.next().unwrap();
            let mut message = framed(chunk);
            assert_eq!(message.get_u8(), 0);
            assert_eq!(message.get_u32() as usize, message.len());
            cut.push(rpc::RangeStreamResponse::decode(message).unwrap().range_response.unwrap());
            if !goes_on {
                return cut;
            }
        }
    }

    #[test]
    fn chunks_joined_are_the_whole() {
        for (keys, value_bytes) in [(0, 1), (1, 1), (10, 1), (11, 1), (500, 1), (100, 700), (40, 5000)] {
            let kv = filled(keys, value_bytes);
            let joined: Vec<_> = cut(&kv, 1000).into_iter().flat_map(|chunk| chunk.kvs).collect();
            let (whole, _) = kv.reader().range(&all()).unwrap();
            assert_eq!(joined, convert::key_values(whole.kvs));
        }
    }

    #[test]
    fn sizes_follow_the_bytes() {
        let sizes = |value_bytes, aim| {
            cut(&filled(100, value_bytes), aim).iter().map(|chunk| chunk.kvs.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1, 10_000)[..3], [10, 20, 40]);
        assert_eq!(sizes(5000, 1000)[..5], [1, 1, 1, 1, 1]);
        assert!(sizes(200, 4000).iter().all(|&keys| keys <= 10));
    }
}
