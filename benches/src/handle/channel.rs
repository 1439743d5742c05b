//! A core behind a channel: clients send a command and where to answer; one task drives the three replicas.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Handle, Service};
use crate::batch::Batch;
use crate::closed_loop::Load;
use crate::cluster::{Cluster, Replica};

/// Most requests that one round of the driver takes.
const REQUESTS_MAX: usize = 4096;

struct Request {
    command: Vec<u8>,
    answer: oneshot::Sender<()>,
}

/// The driver's task, and the way to it.
pub struct Channel<R> {
    requests: mpsc::UnboundedSender<Request>,
    driver: JoinHandle<u64>,
    core: std::marker::PhantomData<R>,
}

impl<R: Replica<Message: Send, Scratch: Send> + Send + 'static> Service for Channel<R> {
    type Handle = Sender;

    async fn start(load: &Load) -> Channel<R> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let cluster = Cluster::<R>::new(1, load.retention());
        Channel { requests, driver: tokio::spawn(drive(cluster, inbox)), core: std::marker::PhantomData }
    }

    fn handle(&self) -> Sender {
        Sender(self.requests.clone())
    }

    async fn finish(self) -> u64 {
        drop(self.requests);
        self.driver.await.expect("the driver does not fail")
    }
}

/// A client's end of the channel.
pub struct Sender(mpsc::UnboundedSender<Request>);

impl Handle for Sender {
    async fn write(&self, command: &[u8]) {
        let (answer, answered) = oneshot::channel();
        let request = Request { command: command.to_vec(), answer };
        self.0.send(request).unwrap_or_else(|_| panic!("the driver outlives its clients"));
        answered.await.expect("every command is answered");
    }
}

/// Takes what has come in, replicates it as one batch, answers when the leader has applied it.
async fn drive<R: Replica>(mut cluster: Cluster<R>, mut inbox: mpsc::UnboundedReceiver<Request>) -> u64 {
    let mut requests = Vec::new();
    let mut waiting = VecDeque::new();
    let mut commands = Batch::default();
    while inbox.recv_many(&mut requests, REQUESTS_MAX).await > 0 {
        commands.clear();
        for Request { command, answer } in requests.drain(..) {
            commands.push(&command);
            waiting.push_back(answer);
        }
        cluster.propose(0, &commands);
        while !waiting.is_empty() {
            for answer in waiting.drain(..cluster.cycle() as usize) {
                // A client that went away does not need its answer.
                let _ = answer.send(());
            }
        }
    }
    cluster.finish()
}
