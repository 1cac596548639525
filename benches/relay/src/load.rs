//! Puts the same load on all three ways to the model, turn by turn, so that what disturbs one disturbs all.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::client::{Client, Taken};
use crate::cores::Cores;
use crate::mock::Wish;
use crate::process::Process;
use crate::report::{Cost, Row, print};
use crate::{Failure, Options};

/// A load: a pause between two tokens, and how many clients ask at the same time.
struct Load {
    name: &'static str,
    pause: Duration,
    clients: usize,
}

const LOADS: [Load; 3] = [
    Load { name: "tokens at once, one client", pause: Duration::ZERO, clients: 1 },
    Load { name: "tokens at once, 8 clients", pause: Duration::ZERO, clients: 8 },
    Load { name: "a token each millisecond, 8 clients", pause: Duration::from_millis(1), clients: 8 },
];

/// What stands between the client and the model.
struct Way {
    process: Process,
    /// Whether it is a relay, and not the model itself.
    relays: bool,
}

/// Starts everything, measures and prints.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let cores = Cores::of_this_process()?;
    cores.take_others()?;
    let model = Process::own(&["mock"])?;
    let upstream = model.url();
    cores.take_those_of_relays()?;
    let proxy = Process::own(&["proxy", &upstream])?;
    let operone = Process::operone(&options.server, data.path(), &upstream)?;
    cores.take_others()?;
    let ways = [
        Way { process: model, relays: false },
        Way { process: proxy, relays: true },
        Way { process: operone, relays: true },
    ];

    let mut memory = Vec::new();
    for way in ways.iter().filter(|way| way.relays) {
        memory.push(memory_per_stream(&way.process, options.streams).await?);
    }
    let mut rows = Vec::new();
    for load in &LOADS {
        let warm_up = Options { requests: load.clients * 5, server: options.server.clone(), ..*options };
        put(load, &warm_up, &ways).await?;
        rows.push(Row { load: load.name, costs: put(load, options, &ways).await? });
    }
    print(options, &rows, &memory);
    Ok(())
}

/// How much memory a relay takes for each stream that is open and idle, in bytes.
async fn memory_per_stream(process: &Process, streams: usize) -> Result<f64, Failure> {
    let mut warm_up = Client::connect(&process.address).await?;
    for _ in 0..20 {
        warm_up.ask(Wish { tokens: 20, pause: Duration::ZERO, holds: false }).await?;
    }
    sleep(Duration::from_millis(500)).await;
    let before = process.resident()?;
    let mut open = Vec::with_capacity(streams);
    for _ in 0..streams {
        let mut client = Client::connect(&process.address).await?;
        client.open(Wish { tokens: 1, pause: Duration::ZERO, holds: true }).await?;
        open.push(client);
    }
    sleep(Duration::from_millis(500)).await;
    let growth = process.resident()?.saturating_sub(before);
    drop(open);
    sleep(Duration::from_millis(500)).await;
    Ok(growth as f64 / streams as f64)
}

/// The ways take turns: in its turn each client asks it once, all at the same time.
async fn put(load: &Load, options: &Options, ways: &[Way]) -> Result<Vec<Cost>, Failure> {
    let mut tested = Vec::with_capacity(ways.len());
    for way in ways {
        let clients = try_join_all((0..load.clients).map(|_| Client::connect(&way.process.address))).await?;
        let before = way.process.processor_time()?;
        tested.push(Tested { way, clients, before, taken: Vec::new() });
    }
    let wish = Wish { tokens: options.tokens, pause: load.pause, holds: false };
    let count = tested.len();
    for round in 0..options.requests.div_ceil(load.clients) {
        for turn in 0..count {
            if let Some(Tested { clients, taken, .. }) = tested.get_mut((round + turn) % count) {
                taken.extend(try_join_all(clients.iter_mut().map(|client| client.ask(wish))).await?);
            }
        }
    }
    let cost = |Tested { way, before, taken, .. }: &Tested<'_>| {
        let used = way.process.processor_time()?.saturating_sub(*before);
        Ok(Cost::new(taken, used, taken.len() * options.tokens))
    };
    tested.iter().map(cost).collect()
}

/// A way under load.
struct Tested<'a> {
    way: &'a Way,
    clients: Vec<Client>,
    /// The processor time before.
    before: Duration,
    taken: Vec<Taken>,
}
