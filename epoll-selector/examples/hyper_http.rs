//! A yardstick: what a user of hyper would write instead of `http`. It serves the files of a
//! directory.
//!
//! ```console
//! $ cargo run --release -p epoll-selector --example hyper_http -- --root target/doc
//! listening on 127.0.0.1:7000
//! ```
//!
//! One thread, as `http` has. Like `http` it reads the file on the loop: tokio's `fs` would hand
//! each file to another thread and back, and cost more.
//!
//! Not here: what `http` has beyond GET, such as ranges, limits, an access log, large files in
//! pieces, and a kernel check of the path. A measurement compares only GET of one small file.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// Minimal HTTP/1.1 file server on hyper and tokio, to compare `http` with
#[derive(Parser)]
struct Args {
    /// Address to listen on: HOST:PORT, [IPV6]:PORT (port 0: a free one)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    addr: SocketAddr,

    /// Directory with the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    LocalSet::new().run_until(serve(&args)).await
}

async fn serve(args: &Args) -> std::io::Result<()> {
    let listener = TcpListener::bind(args.addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let root = args.root.clone();
        tokio::task::spawn_local(async move {
            let answer = service_fn(move |request| {
                let response = answer(&root, &request);
                async { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            let connection = http.timer(TokioTimer::new());
            // An error is one client's, such as a reset.
            let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer(root: &Path, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().trim_start_matches('/');
    let found = (!path.contains("..")).then(|| std::fs::read(root.join(path)));
    let mut response = Response::default();
    match found {
        Some(Ok(bytes)) => *response.body_mut() = Full::from(bytes),
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}
