//! `KV.RangeStream`: a range in pieces that a client can take in as they come.

use std::sync::Arc;

use kontiki_api::{kv, rpc};
use kontiki_store::StoreError;
use prost::Message;
use tonic::Status;

use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::services::range;
use crate::{convert, errors, metrics};

/// Keys in the first piece.
const FIRST_PIECE: usize = 10;

/// Sends the pieces.
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
    // All pieces come from one read, so they are of one revision whatever is compacted meanwhile.
    let reader = Arc::clone(front);
    let whole = tokio::spawn(async move { range::range(&reader, request).await }); // long: not on the connection's task
    let whole = whole.await.map_err(|_| errors::store(StoreError::Stopped))??;
    let mut pieces = Pieces::new(whole, front.settings.request_bytes_max);
    while let Some(piece) = pieces.next() {
        let message = grpc::encode(&rpc::RangeStreamResponse { range_response: Some(piece) });
        counters.sent(1, message.len());
        answers.ready().await?;
        answers.send(message)?;
        tokio::task::yield_now().await; // other calls of the connection have their turn between pieces
    }
    Ok(())
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

/// Cuts an answer: header, `more` and `count` stand in the last piece only.
struct Pieces {
    kvs: std::vec::IntoIter<kv::KeyValue>,
    last: Option<rpc::RangeResponse>,
    keys: usize,
    bytes_aim: usize,
}

impl Pieces {
    fn new(mut whole: rpc::RangeResponse, bytes_aim: usize) -> Pieces {
        let kvs = std::mem::take(&mut whole.kvs).into_iter();
        Pieces { kvs, last: Some(whole), keys: FIRST_PIECE, bytes_aim }
    }

    /// Doubles the number of keys while pieces stay below half of the aim, halves it above twice the aim.
    fn next(&mut self) -> Option<rpc::RangeResponse> {
        let kvs: Vec<_> = self.kvs.by_ref().take(self.keys).collect();
        if self.kvs.len() == 0 {
            return self.last.take().map(|last| rpc::RangeResponse { kvs, ..last });
        }
        let piece = rpc::RangeResponse { kvs, ..rpc::RangeResponse::default() };
        let bytes = piece.encoded_len();
        if bytes < self.bytes_aim / 2 {
            self.keys *= 2;
        } else if bytes > self.bytes_aim * 2 {
            self.keys = (self.keys / 2).max(1);
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn whole(keys: usize, value_bytes: usize) -> rpc::RangeResponse {
        let pair = |number: usize| kv::KeyValue {
            key: format!("{number:05}").into(),
            value: vec![7; value_bytes].into(),
            ..kv::KeyValue::default()
        };
        rpc::RangeResponse {
            header: Some(rpc::ResponseHeader::default()),
            kvs: (0..keys).map(pair).collect(),
            more: true,
            count: 99,
        }
    }

    fn cut(whole: &rpc::RangeResponse) -> Vec<rpc::RangeResponse> {
        let mut pieces = Pieces::new(whole.clone(), 1000);
        std::iter::from_fn(|| pieces.next()).collect()
    }

    #[test]
    fn pieces_joined_are_the_whole() {
        for (keys, value_bytes) in [(0, 1), (1, 1), (10, 1), (11, 1), (500, 1), (100, 700), (40, 5000)] {
            let whole = whole(keys, value_bytes);
            let pieces = cut(&whole);
            let (last, others) = pieces.split_last().unwrap();
            assert!(others.iter().all(|piece| piece.header.is_none() && !piece.more && piece.count == 0));
            let kvs = pieces.iter().flat_map(|piece| piece.kvs.clone()).collect();
            assert_eq!(rpc::RangeResponse { kvs, ..last.clone() }, whole);
        }
    }

    #[test]
    fn sizes_follow_the_bytes() {
        let sizes = |value_bytes| cut(&whole(100, value_bytes)).iter().map(|p| p.kvs.len()).collect::<Vec<_>>();
        assert_eq!(sizes(1)[..3], [10, 20, 40]);
        assert_eq!(sizes(5000)[..5], [10, 5, 2, 1, 1]);
    }
}
