//! What Operone's relay of a model's answer costs, beside a bare proxy: `cargo xtask bench relay` builds and runs it.

mod client;
mod cores;
mod load;
mod mock;
mod process;
mod proxy;
mod report;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// What went wrong, for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is measured.
#[derive(Debug)]
struct Options {
    /// The program `operone-server`.
    server: PathBuf,
    /// How many answers each way gives in each load.
    requests: usize,
    /// How many tokens an answer has.
    tokens: usize,
    /// How many streams are open while memory is read.
    streams: usize,
}

const USAGE: &str = "relay-bench run --server PATH [--requests N] [--tokens N] [--streams N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("relay-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // The two servers are processes of their own, so that their processor time is told apart.
        ["mock"] => serve(mock::router()),
        ["proxy", upstream] => serve(proxy::router(upstream)?),
        ["run", options @ ..] => {
            let options = parse(options)?;
            // One thread: what the client takes is the same for every way, and leaves a core to the relays.
            Builder::new_current_thread().enable_all().build()?.block_on(load::run(&options))
        }
        _ => Err(USAGE.into()),
    }
}

fn parse(arguments: &[&str]) -> Result<Options, Failure> {
    let mut options = Options { server: PathBuf::new(), requests: 600, tokens: 200, streams: 200 };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(USAGE.into()) };
        let number = || value.parse().ok().filter(|number| *number > 0).ok_or(USAGE);
        match *name {
            "--server" => options.server = PathBuf::from(value),
            "--requests" => options.requests = number()?,
            "--tokens" => options.tokens = number()?,
            "--streams" => options.streams = number()?,
            _ => return Err(USAGE.into()),
        }
    }
    if options.server.as_os_str().is_empty() { Err(USAGE.into()) } else { Ok(options) }
}

/// Serves on a free port of this machine until standard input ends; says where in its first line.
fn serve(router: axum::Router) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let served = async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("listening on http://{} ", listener.local_addr()?);
        let stopped = input_ends();
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
        tokio::select! {
            served = async { axum::serve(listener, router).await } => served,
            () = stopped => Ok(()),
        }
    };
    let result = runtime.block_on(served);
    runtime.shutdown_background();
    Ok(result?)
}

fn input_ends() -> impl Future<Output = ()> {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(sender);
    });
    async move { drop(receiver.await) }
}
