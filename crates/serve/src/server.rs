//! A server, from binding its address to its end.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::api::{self, App};
use crate::engine::{Engine, Phase, Queue};
use crate::metrics::Metrics;
use crate::{ServeError, Served, ServerConfig};

/// The threads that read requests and write answers. The models have a thread of their own.
const HTTP_THREADS: usize = 2;
/// The time that connections get to send the last answers after all texts were cut.
const FAREWELL: Duration = Duration::from_secs(5);

/// A server that has its address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
    app: Arc<App>,
    queue: Arc<Queue>,
}

impl Server {
    /// Checks models and settings, and takes the address. Requests wait until the server runs.
    ///
    /// # Errors
    /// [`ServeError::Setting`] or [`ServeError::Model`] if something does not fit, and [`ServeError::Listen`] if the
    /// address is taken.
    pub fn bind(mut served: Served, config: ServerConfig) -> Result<Self, ServeError> {
        config.check(served.counted())?;
        served.check()?;
        // This is the limit of texts whose requests have none.
        let generation = &mut served.pair.student.generation;
        generation.max_new_tokens = generation.max_new_tokens.min(config.max_new_tokens);
        let queue = Arc::new(Queue::new(config.queue));
        let metrics = Arc::new(Metrics::new().map_err(|error| ServeError::System(std::io::Error::other(error)))?);
        let failed = |source| ServeError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let app = Arc::new(App::new(&served, config.clone(), queue.clone(), metrics.clone()));
        let engine = Engine::new(served, config, queue.clone(), metrics)?;
        if !address.ip().is_loopback() && app.config.api_key.is_none() {
            log::warn!(
                "{address} can be reached from other machines, and no API key is set: everybody can use the server"
            );
        }
        Ok(Self { listener, address, engine, app, queue })
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process is asked to stop, by Ctrl-C or, on Unix, by SIGTERM.
    ///
    /// # Errors
    /// [`ServeError::System`] if threads or the network fail.
    pub fn run(self) -> Result<(), ServeError> {
        self.run_until(stop_signal())
    }

    /// Serves until `stop` is ready. Texts that are being written then get
    /// [`ServerConfig::shutdown_grace_s`] seconds to end.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { listener, engine, app, queue, .. } = self;
        let runtime = runtime::Builder::new_multi_thread().worker_threads(HTTP_THREADS).enable_all().build();
        let runtime = runtime.map_err(ServeError::System)?;
        let config = app.config.clone();
        let (ended, decoder_ended) = oneshot::channel();
        let decoder = thread::Builder::new().name("decode".into()).spawn(move || {
            engine.run();
            let _ = ended.send(());
        });
        let decoder = decoder.map_err(ServeError::System)?;
        let router = api::router(app);
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (stop_listening, stopped) = oneshot::channel();
            let connections = tokio::spawn(serve(listener, router, stopped));
            stop.await;
            let _ = stop_listening.send(());
            queue.enter(Phase::Closing);
            let grace = tokio::time::timeout(config.shutdown_grace(), decoder_ended).await;
            if grace.is_err() {
                log::warn!("texts were cut after {} s", config.shutdown_grace_s);
                queue.enter(Phase::Cut);
            }
            match tokio::time::timeout(FAREWELL, connections).await {
                Ok(served) => served.unwrap_or_else(|error| Err(std::io::Error::other(error))),
                // A client that does not read its answer does not keep the server.
                Err(_) => Ok(()),
            }
        });
        queue.enter(Phase::Cut);
        runtime.shutdown_background();
        if decoder.join().is_err() {
            log::error!("the thread of the models panicked");
        }
        served.map_err(ServeError::System)
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let stop = async {
        let _ = stopped.await;
    };
    // Each token of a stream is a small packet, which must not wait for the next one.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            log::debug!("a connection delays small packets: {error}");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// Waits for Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            log::error!("Ctrl-C is not heard: {error}");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    () = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => interrupt.await,
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
