//! Watches as etcd's client library holds them: a stream of a few, resumed at another member behind the last revision seen
//! whenever the connection breaks.

use std::time::Duration;

use kontiki_store::WatchCreate;

use crate::etcd::Told;
use crate::etcd::client::Client;
use crate::etcd::requests::{KeySpace, every, one};
use crate::etcd::subscription::{News, Subscription};

/// Most watches of a stream.
const WATCHES_MAX: u64 = 3;
/// At the end of the work, so long at most until everything has been told.
const FAREWELL: Duration = Duration::from_secs(30);
/// How often progress is asked for then.
const ASKS_EVERY: Duration = Duration::from_secs(1);

/// A watch that the client keeps going.
struct Watch {
    name: u64,
    wish: WatchCreate,
    /// The first revision that it has not seen; zero where it has seen none.
    next: i64,
    live: bool,
    /// At the end of the work: it has been told everything.
    told_all: bool,
}

/// What the client does when it is time for something.
enum Whim {
    Rest,
    AskProgress,
    Cancel,
    Reconnect,
    Leave,
}

/// How a stream came to its end.
#[derive(PartialEq, Eq)]
enum Course {
    Broken,
    Left,
}

/// Watches, a few keys for a while, then others.
pub(crate) async fn run(mut client: Client, space: KeySpace) {
    while client.thinks(Duration::from_millis(500)).await {
        let count = 1 + client.chance.below(WATCHES_MAX);
        let mut watches: Vec<Watch> = (0..count).map(|_| draw(&mut client, &space)).collect();
        while watches.iter().any(|watch| watch.live) {
            match follow(&mut client, &mut watches).await {
                Course::Left => break,
                Course::Broken => {
                    client.turn_away();
                    client.backs_off().await;
                }
            }
        }
    }
}

fn draw(client: &mut Client, space: &KeySpace) -> Watch {
    let name = client.site.watch_name();
    let (known, compacted) = (client.site.revision(), client.site.compacted());
    let chance = &mut client.chance;
    let range = match chance.below(6) {
        0 | 1 => one(space.key(chance)),
        2 => space.some(chance),
        3 => every(),
        _ => space.all(),
    };
    let past = i64::try_from(chance.below(60)).unwrap_or(0);
    let wish = WatchCreate {
        range,
        start_revision: match chance.below(10) {
            0..=4 => 0,
            5 => known + past / 4,
            6 => compacted,
            _ => (known - past).max(1),
        },
        progress_notify: chance.one_in(3),
        no_put: chance.one_in(8),
        no_delete: chance.one_in(8),
        prev_kv: chance.one_in(3),
        watch_id: 0,
    };
    Watch { name, next: wish.start_revision, wish, live: true, told_all: false }
}

/// Opens a stream, with all that is live on it, and reads until it breaks or the client leaves.
async fn follow(client: &mut Client, watches: &mut [Watch]) -> Course {
    let stopped_before = client.is_stopping();
    let Some(mut subscription) = Subscription::open(client).await else {
        return if stopped_before { Course::Left } else { Course::Broken };
    };
    let mut places = Vec::new();
    for (number, watch) in watches.iter().enumerate().filter(|(_, watch)| watch.live) {
        let place = subscription.create(watch.name, &WatchCreate { start_revision: watch.next, ..watch.wish.clone() });
        assert_eq!(place, places.len(), "places are counted");
        places.push(number);
    }
    if client.chance.one_in(3) {
        subscription.request_progress(); // while some of them lag
    }
    loop {
        let until = client.site.spawner.now() + Duration::from_millis(500 + client.chance.below(8_000));
        match listen(client, &mut subscription, watches, &places, until).await {
            Heard::TimeIsOver => {}
            Heard::End(course) => return course,
            Heard::Stopping => return farewell(client, &mut subscription, watches, &places).await,
        }
        match whim(client) {
            Whim::Rest => {
                let time = Duration::from_millis(1_000 + client.chance.below(15_000));
                if !subscription.rests(time).await {
                    return Course::Broken;
                }
            }
            Whim::AskProgress => subscription.request_progress(),
            Whim::Cancel => subscription.cancel(usize::try_from(client.chance.below(places.len() as u64)).unwrap_or(0)),
            Whim::Reconnect => return Course::Broken,
            Whim::Leave => return Course::Left,
        }
    }
}

/// Why a client does not listen any more.
enum Heard {
    TimeIsOver,
    Stopping,
    End(Course),
}

async fn listen(
    client: &mut Client,
    subscription: &mut Subscription,
    watches: &mut [Watch],
    places: &[usize],
    until: Duration,
) -> Heard {
    loop {
        let news = tokio::select! {
            biased;
            () = client.stopping() => return Heard::Stopping,
            news = subscription.next() => news,
            () = client.site.spawner.sleep_until(until) => return Heard::TimeIsOver,
        };
        let Some(news) = news else { return Heard::End(Course::Broken) };
        take(watches, places, &news);
        if !watches.iter().any(|watch| watch.live) {
            return Heard::End(Course::Left);
        }
    }
}

/// Keeps the books of what was told.
fn take(watches: &mut [Watch], places: &[usize], news: &News) {
    for (place, number) in places.iter().enumerate() {
        if news.place.is_some_and(|concerned| concerned != place) {
            continue;
        }
        let watch = &mut watches[*number];
        match &news.told {
            // It shows what comes behind this revision.
            Told::Created(revision) if watch.next == 0 => watch.next = revision + 1,
            Told::Created(_) => {}
            Told::Events(events) => {
                let last = events.last().map_or(0, |event| event.kv.mod_revision);
                watch.next = watch.next.max(last + 1);
            }
            Told::Progress(revision) => {
                watch.next = watch.next.max(revision + 1);
                watch.told_all = true;
            }
            Told::Canceled(_) => watch.live = false,
        }
    }
}

/// The work is over: stays until every watch has been told everything.
async fn farewell(
    client: &mut Client,
    subscription: &mut Subscription,
    watches: &mut [Watch],
    places: &[usize],
) -> Course {
    let spawner = client.site.spawner.clone();
    let until = spawner.now() + FAREWELL;
    watches.iter_mut().for_each(|watch| watch.told_all = false);
    let mut again = Duration::ZERO;
    while spawner.now() < until && watches.iter().any(|watch| watch.live && !watch.told_all) {
        if spawner.now() >= again {
            subscription.request_progress();
            again = spawner.now() + ASKS_EVERY;
        }
        tokio::select! {
            biased;
            news = subscription.next() => match news {
                Some(news) => take(watches, places, &news),
                None => return Course::Broken,
            },
            () = spawner.sleep_until(again) => {}
        }
    }
    Course::Left
}

fn whim(client: &mut Client) -> Whim {
    match client.chance.below(12) {
        0 => Whim::Rest,
        1 => Whim::Cancel,
        2 => Whim::Reconnect,
        3 => Whim::Leave,
        _ => Whim::AskProgress,
    }
}
