//! A tier's `main` in five steps: settings, logs, build, serve, drain.
//!
//! ```text
//! fn main() -> ExitCode { service::boot::run(Tier::Gateway, ingest_gateway::run) }
//! ```

use crate::auth::{Keys, KeysFile};
use crate::descriptors;
use crate::health::Health;
use crate::http::{self, App, Kit};
use crate::internal::Internal;
use crate::logs;
use crate::metrics::Metrics;
use crate::probe;
use crate::settings::{Refusal, Settings, SettingsError, Tier};
use crate::shutdown::Shutdown;
use crate::traces::Traces;
use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

/// Exit code of settings and refusals: the operator has to change something.
const USAGE: u8 = 2;

/// Why a tier did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Exit code 2.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Exit code 1.
    #[error("{what}: {source}")]
    Failed { what: &'static str, source: Box<dyn Error + Send + Sync> },
}

impl BootError {
    /// `what` was being done: "connect to Redis".
    pub fn failed(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { what, source: source.into() }
    }
}

/// Connections made and not yet accepted; the system cuts it down to what it allows (4,096).
const BACKLOG: u32 = 8_192;

/// What a tier is given to build itself from.
#[derive(Debug, Clone)]
pub struct Boot {
    pub settings: Arc<Settings>,
    pub metrics: Arc<Metrics>,
    pub keys: Arc<Keys>,
    pub traces: Traces,
    pub shutdown: Shutdown,
}

/// Runs a tier to its end and says how it went: 0 done, 1 failed, 2 settings or refusal. The last word is one line on
/// standard error. `check` looks for whatever else `tier_main` would refuse, and changes nothing.
pub fn run<F, Fut>(tier: Tier, check: impl Check, tier_main: F) -> ExitCode
where
    F: FnOnce(Boot) -> Fut,
    Fut: Future<Output = Result<(), BootError>>,
{
    run_with(tier, environment(), std::env::args_os(), check, tier_main)
}

/// What `--check-config` does in production besides reading the settings.
pub trait Check: AsyncFnOnce(&Settings) -> Result<(), Refusal> {}

impl<F: AsyncFnOnce(&Settings) -> Result<(), Refusal>> Check for F {}

/// The environment, for [`Settings`].
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// [`run`] with environment and arguments as values; `args` begins with the program's name.
pub fn run_with<F, Fut>(
    tier: Tier,
    env: impl IntoIterator<Item = (String, String)>,
    args: impl IntoIterator<Item = OsString>,
    check: impl Check,
    tier_main: F,
) -> ExitCode
where
    F: FnOnce(Boot) -> Fut,
    Fut: Future<Output = Result<(), BootError>>,
{
    run_loaded(tier, Settings::load(tier, env, args), check, tier_main)
}

/// [`run`] for a program that reads its command line itself.
pub fn run_loaded<F, Fut>(
    tier: Tier,
    settings: Result<Settings, SettingsError>,
    check: impl Check,
    tier_main: F,
) -> ExitCode
where
    F: FnOnce(Boot) -> Fut,
    Fut: Future<Output = Result<(), BootError>>,
{
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return report(tier, &error.into()),
    };
    if settings.check_only {
        return match print_settings(&settings).and_then(|()| check_all(&settings, check)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(tier, &error),
        };
    }
    if settings.check_health {
        return match probe::healthy(&settings.http) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(tier, &BootError::failed("ask for the health", error)),
        };
    }
    match start(settings, tier_main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(tier, &error),
    }
}

fn start<F, Fut>(settings: Settings, tier_main: F) -> Result<(), BootError>
where
    F: FnOnce(Boot) -> Fut,
    Fut: Future<Output = Result<(), BootError>>,
{
    logs::init(&settings.telemetry).map_err(|error| BootError::failed("set up the log", error))?;
    log_settings(&settings);
    descriptors::make_room(settings.http.max_connections);
    std::panic::set_hook(Box::new(log_panic));
    let runtime = runtime()?;
    let traces = Traces::start(&settings, runtime.handle())?;
    let drain = settings.lifecycle.drain_timeout;
    let shutdown = runtime.block_on(async { Shutdown::on_signals() });
    let shutdown = shutdown.map_err(|error| BootError::failed("listen to signals", error))?;
    let boot = Boot::new(settings, traces.clone(), shutdown.clone())?;
    let ended = runtime.block_on(tier_main(boot));
    traces.end(shutdown.left(drain));
    // Tasks still blocked must not hold the process past its drain time.
    runtime.shutdown_background();
    ended
}

fn runtime() -> Result<Runtime, BootError> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| BootError::failed("start the runtime", error))
}

/// Elsewhere than in production, settings can be looked at without stores.
fn check_all(settings: &Settings, check: impl Check) -> Result<(), BootError> {
    #[cfg(feature = "tls")]
    certificate(settings, &Metrics::new())?;
    if !settings.is_production() {
        return Ok(());
    }
    let runtime = runtime()?;
    let checked = runtime.block_on(check(settings));
    runtime.shutdown_background();
    Ok(checked?)
}

/// Where it happened, and the message unless it was formatted: a formatted one may hold a payload.
fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let panic = info.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(location, panic, "panic: a defect");
}

fn log_settings(settings: &Settings) {
    tracing::info!(
        service = settings.tier.name(),
        version = env!("CARGO_PKG_VERSION"),
        environment = settings.environment,
        "starting"
    );
    for name in settings.shadowed() {
        tracing::warn!(name, "environment variable has no effect: the settings file speaks of it");
    }
    for name in settings.ignored() {
        tracing::warn!(name, "setting of a replaced system ignored");
    }
}

fn print_settings(settings: &Settings) -> Result<(), BootError> {
    let mut out = io::stdout().lock();
    let printed = settings.effective().iter().try_for_each(|setting| writeln!(out, "{setting}"));
    printed.map_err(|error| BootError::failed("print the settings", error))
}

fn report(tier: Tier, error: &BootError) -> ExitCode {
    if let BootError::Settings(SettingsError::Usage(usage)) = error {
        let code = u8::try_from(usage.exit_code()).unwrap_or(USAGE);
        return usage.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code));
    }
    let line = format!("{}: {error}", tier.name()).replace('\n', " ");
    let written = writeln!(io::stderr(), "{line}");
    match error {
        BootError::Settings(_) | BootError::Refused(_) if written.is_ok() => ExitCode::from(USAGE),
        BootError::Settings(_) | BootError::Refused(_) | BootError::Failed { .. } => ExitCode::FAILURE,
    }
}

impl Boot {
    fn new(settings: Settings, traces: Traces, shutdown: Shutdown) -> Result<Self, BootError> {
        let keys = Keys::new(&settings.auth, settings.is_production())?;
        Ok(Self {
            settings: Arc::new(settings),
            metrics: Arc::new(Metrics::new()),
            keys: Arc::new(keys),
            traces,
            shutdown,
        })
    }

    /// For tests, and for a tier inside another program: without process-wide set-up; ends by `shutdown.begin()`.
    pub fn embedded(settings: Settings) -> Result<Self, BootError> {
        Self::new(settings, Traces::default(), Shutdown::manual())
    }

    /// Binds the public and the internal port.
    pub async fn listen(&self) -> Result<Listeners, BootError> {
        let http = &self.settings.http;
        let public = bind("AB_PORT", SocketAddr::new(http.host, http.port))?;
        let internal = bind("AB_INTERNAL_ADDR", http.internal_addr)?;
        Ok(Listeners { public, internal })
    }
}

/// What the public port shows, if it is encrypted.
#[cfg(feature = "tls")]
fn certificate(settings: &Settings, metrics: &Metrics) -> Result<Option<http::Tls>, BootError> {
    let stats = http::TlsStats::new(metrics).map_err(|error| BootError::failed("register metrics", error))?;
    let Some((certificate, key)) = &settings.http.tls else { return Ok(None) };
    let tls = http::Tls::new(certificate, key, stats);
    Ok(Some(tls.map_err(|error| Refusal::new("AB_TLS_CERT", error.to_string()))?))
}

fn bind(variable: &str, address: SocketAddr) -> Result<TcpListener, Refusal> {
    listening(address).map_err(|error| Refusal::new(variable, format!("cannot listen on {address}: {error}")))
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The bound ports of a tier.
#[derive(Debug)]
pub struct Listeners {
    pub public: TcpListener,
    pub internal: TcpListener,
}

impl Listeners {
    /// Free ports on 127.0.0.1, for tests.
    pub async fn loopback() -> io::Result<Self> {
        let any = (std::net::Ipv4Addr::LOCALHOST, 0);
        Ok(Self { public: TcpListener::bind(any).await?, internal: TcpListener::bind(any).await? })
    }

    pub fn public_addr(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    pub fn internal_addr(&self) -> io::Result<SocketAddr> {
        self.internal.local_addr()
    }

    /// Serves `app` and health on the public port, metrics and health on the internal one, until the shutdown begins
    /// and open requests have ended. The internal port outlives the public one, so the drain can be watched.
    pub async fn serve<A: App>(self, boot: &Boot, app: Arc<A>, health: Health) -> Result<(), BootError> {
        let (settings, metrics) = (&*boot.settings, &*boot.metrics);
        let address =
            self.public.local_addr().map_err(|error| BootError::failed("read the public address", error))?;
        let health = Arc::new(health.until(boot.shutdown.token()));
        let kit = |keys, port, classes: Vec<_>| {
            Kit::new(settings, keys, Arc::clone(&health), metrics, port, &classes)
                .map_err(|error| BootError::failed("register metrics", error))
        };
        let mut public = kit(Arc::clone(&boot.keys), "http", A::classes())?;
        public.traces = boot.traces.clone();
        #[cfg(feature = "tls")]
        if let Some(tls) = certificate(settings, metrics)?.map(Arc::new) {
            tokio::spawn(Arc::clone(&tls).watch(boot.shutdown.token()));
            public.tls = Some(tls);
        }
        let internal = kit(Arc::clone(&boot.keys), "internal_http", Internal::classes())?;
        let refused = metrics
            .gauge("abstream_keys_files_refused", "Keys files whose content is not in force: see the log")
            .map_err(|error| BootError::failed("register metrics", error))?;
        for path in boot.keys.files() {
            let file = KeysFile::new(Arc::clone(&boot.keys), path, refused.clone());
            tokio::spawn(file.watch(boot.shutdown.token()));
        }
        let watch = Shutdown::manual();
        let metrics_app = Arc::new(Internal { metrics: Arc::clone(&boot.metrics) });
        tracing::info!(%address, keys = boot.keys.len(), "serving");
        let serve_public = async {
            let drained = http::serve(self.public, app, Arc::new(public), &boot.shutdown).await;
            watch.abort();
            drained
        };
        let serve_internal = http::serve(self.internal, metrics_app, Arc::new(internal), &watch);
        let (drained, _) = tokio::join!(serve_public, serve_internal);
        tracing::info!(connections_cut = drained.cut, "drained");
        Ok(())
    }
}
