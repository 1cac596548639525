//! Puts the same load on all three ways to the model, turn by turn, so that what disturbs one disturbs all.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::client::{Client, Taken};
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
    let model = Process::own(&["mock"])?;
    let upstream = model.url();
    let proxy = Process::own(&["proxy", &upstream])?;
    let operone = Process::operone(&options.server, data.path(), &upstream)?;
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

/// Each client asks each way in turn.
async fn put(load: &Load, options: &Options, ways: &[Way]) -> Result<Vec<Cost>, Failure> {
    let times = || ways.iter().map(|way| way.process.processor_time()).collect::<Result<Vec<_>, _>>();
    let wish = Wish { tokens: options.tokens, pause: load.pause, holds: false };
    let rounds = options.requests.div_ceil(load.clients);
    let before = times()?;
    let taken = try_join_all((0..load.clients).map(|client| turns(client, rounds, wish, ways))).await?;
    let after = times()?;
    let costs = before.iter().zip(after).enumerate().map(|(place, (before, after))| {
        let taken: Vec<Taken> =
            taken.iter().filter_map(|of_client| of_client.get(place)).flatten().copied().collect();
        let tokens = taken.len() * options.tokens;
        Cost::new(&taken, after.saturating_sub(*before), tokens)
    });
    Ok(costs.collect())
}

async fn turns(client: usize, rounds: usize, wish: Wish, ways: &[Way]) -> Result<Vec<Vec<Taken>>, Failure> {
    let mut clients = Vec::with_capacity(ways.len());
    for way in ways {
        clients.push((Client::connect(&way.process.address).await?, Vec::with_capacity(rounds)));
    }
    let count = clients.len();
    for round in 0..rounds {
        for turn in 0..count {
            if let Some((connection, taken)) = clients.get_mut((client + round + turn) % count) {
                taken.push(connection.ask(wish).await?);
            }
        }
    }
    Ok(clients.into_iter().map(|(_, taken)| taken).collect())
}
