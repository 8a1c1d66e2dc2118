//! Starts the parts of the daemon from a configuration.

use holdfast_kernel::error_chain;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tracing::{info, warn};

use super::config::{CgroupDriver, Config, NetworkKind, VolumesConfig};
use super::metrics::{MetricsServer, Subject};
use super::shutdown::{GRACE, Signals};
use super::{LogError, SocketError, authority, logging, socket, watchdog};
use crate::cri::{Facts, router};
use crate::pod::{CniUse, ImageVolumes, PodError, PodSettings, Pods};
use crate::stream::{ServerError, StreamServer};
use holdfast_disk::{Dir, DirError, FileName, FileNameError, LockFile};
use holdfast_image::{ImageSettings, ImageStore, StoreError};
use holdfast_kernel::cgroup::Driver;
use holdfast_kernel::sys::{memory, proc};
use holdfast_network::BridgeSettings;
use holdfast_network::cni::CniSettings;

/// Why the daemon cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The log cannot be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The daemon cannot listen on its socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The root directory cannot be used, or another daemon uses it.
    #[error("cannot take the root directory")]
    Root(#[from] DirError),
    /// A name in the root directory is refused. The names are constants, so that this does not happen.
    #[error("cannot name an entry of the root directory")]
    Name(#[from] FileNameError),
    /// The store of images cannot be opened.
    #[error("cannot open the images")]
    Images(#[from] StoreError),
    /// The pods of an earlier daemon cannot be taken over.
    #[error("cannot take over the pods")]
    Pods(#[from] PodError),
    /// A system call at the start failed.
    #[error("cannot {operation}")]
    System {
        /// The operation, as an infinitive.
        operation: &'static str,
        /// Why the system refused it.
        #[source]
        source: io::Error,
    },
    /// The streaming server cannot start.
    #[error("cannot serve streams")]
    Streaming(#[from] ServerError),
    /// The server ended by itself.
    #[error("cannot serve requests any longer")]
    Serve(#[from] tonic::transport::Error),
}

fn system(operation: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { operation, source }
}

/// The async runtime of the daemon. Threads cost memory, and nothing here computes for long.
///
/// # Errors
/// [`StartError::System`] when threads cannot be made.
pub(crate) fn runtime() -> Result<Runtime, StartError> {
    /// Enough for handlers; the pool of blocking threads does what waits for the kernel.
    const WORKERS: usize = 2;
    /// Bounds what a hanging file system can hold up: beyond that requests wait.
    const BLOCKING_THREADS: usize = 64;
    /// An idle blocking thread goes soon, and its memory with it.
    const IDLE: Duration = Duration::from_secs(2);
    /// Blocking threads come and go, and must not leave an arena of the heap behind each.
    const ARENAS: i32 = 2;
    memory::limit_arenas(ARENAS);
    // When the last blocking thread goes, nothing has been done for a while: what the work before needed is given back.
    let blocking = Arc::new(AtomicUsize::new(0));
    let (begun, ended) = (Arc::clone(&blocking), blocking);
    // tokio starts the workers first. Names as ps -L shows them; the kernel keeps 15 bytes.
    let started = AtomicUsize::new(0);
    let name = move || match started.fetch_add(1, Ordering::Relaxed) {
        before if before < WORKERS => "holdfastd-work",
        _ => "holdfastd-block",
    };
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(IDLE)
        .thread_name_fn(move || name().to_owned())
        .on_thread_start(move || {
            begun.fetch_add(1, Ordering::Relaxed);
        })
        .on_thread_stop(move || {
            if ended.fetch_sub(1, Ordering::Relaxed) == WORKERS + 1 {
                memory::trim_heap();
                memory::forget_code();
            }
        })
        .enable_all()
        .build()
        .map_err(system("start threads"))
}

/// Starts the daemon and serves until it is asked to end.
///
/// # Errors
/// [`StartError`] when the daemon cannot start. Running pods are not touched then.
pub(crate) async fn run(config: Config) -> Result<(), StartError> {
    let started = Instant::now();
    logging::start(&config.log)?;
    #[cfg(feature = "fault")]
    holdfast_kernel::fault::attach("daemon", &config.run_dir);
    let mut signals = Signals::new().map_err(system("listen for signals"))?;
    let _lock = lock(&config.root_dir)?;
    let images = open_images(&config)?;
    let settings = pod_settings(&config)?;
    let pods = Pods::open(settings, images.clone()).await?;
    // From here on all layers that are in use are known.
    images.collect();
    let facts = facts(&config, started)?;
    let (streams, streaming) = StreamServer::bind(config.streaming.settings()).await?;
    let subject = Subject {
        pods: pods.clone(),
        images: images.clone(),
    };
    let router = router(pods.clone(), images, streaming, facts);
    let metrics = MetricsServer::bind(config.metrics.address).await;
    let metrics = metrics.map_err(system("listen on metrics.address"))?;
    let listener = socket::listen(&config.socket, config.socket_group.as_deref())?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %config.socket.display(),
        pods = pods.pods().len(),
        millis = started.elapsed().as_millis(),
        "serving"
    );
    notify(&[NotifyState::Ready]);
    watchdog::start(&config.socket);
    let (stop, stopped) = oneshot::channel::<()>();
    let asked = async {
        // A sender that has gone means the same.
        let _ = stopped.await;
    };
    let clients =
        UnixListenerStream::new(listener).map(|client| client.map(authority::Client::new));
    let serving = router.serve_with_incoming_shutdown(clients, asked);
    tokio::pin!(serving);
    tokio::select! {
        // Dropped with everything else here: a daemon that ends closes its streams.
        () = streams.serve(pods.clone()) => {}
        () = metrics.serve(subject) => {}
        result = &mut serving => result?,
        () = signals.wait() => {
            notify(&[NotifyState::Stopping]);
            // Streams of events never end by themselves.
            pods.close_events();
            let _ = stop.send(());
            if tokio::time::timeout(GRACE, serving).await.is_err() {
                warn!("the daemon ended before all requests were answered");
            }
            // The machine may be going down, and what only the run directory knows with it.
            match tokio::time::timeout(GRACE, pods.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(error = error_chain(&error), "cannot keep the records of pods for the next boot"),
                Err(_) => warn!("cannot keep the records of pods for the next boot: the disk is too slow"),
            }
        }
    }
    remove_socket(&config.socket);
    Ok(())
}

/// Notifies systemd, when systemd asked for notifications. A daemon that cannot notify systemd serves all the same.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot notify systemd");
    }
}

fn remove_socket(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        warn!(path = %path.display(), %error, "cannot remove the socket");
    }
}

/// Locks the root directory, so that only one daemon uses it. The kernel drops the lock when the process ends.
fn lock(root: &Path) -> Result<LockFile, StartError> {
    Ok(Dir::create_root(root)?.lock(&FileName::new("daemon.lock")?)?)
}

/// Directory of the images below the root directory.
const IMAGES: &str = "images";

fn open_images(config: &Config) -> Result<ImageStore, StartError> {
    let image = &config.image;
    let settings = ImageSettings {
        hosts_dir: image.hosts_dir.iter().find(|dir| dir.is_dir()).cloned(),
        max_parallel_layers: image.max_parallel_layers,
        stall_timeout: image.stall_timeout.get(),
        min_download_rate: image.min_download_rate.0,
        download_rate_window: image.download_rate_window.get(),
        pinned: image.pinned.clone(),
        max_layer_entries: image.max_layer_entries,
        max_layer_bytes: image.max_layer_size.0,
    };
    Ok(ImageStore::open(&config.root_dir.join(IMAGES), settings)?)
}

fn pod_settings(config: &Config) -> Result<PodSettings, StartError> {
    let network = &config.network;
    let bridge = || BridgeSettings {
        name: network.bridge.clone(),
        subnet4: network.subnet4,
        subnet6: network.subnet6,
        mtu: network.mtu,
        // Volatile like the pods themselves: leases outlive the daemon, not the machine's boot.
        state_dir: config.run_dir.join("network"),
        netns_dir: network.netns_dir.clone(),
    };
    Ok(PodSettings {
        run_dir: config.run_dir.clone(),
        root_dir: config.root_dir.clone(),
        shim: shim(config)?,
        cgroup_parent: config.cgroup.parent.clone(),
        cgroup_driver: match config.cgroup.driver {
            CgroupDriver::Auto => None,
            CgroupDriver::Cgroupfs => Some(Driver::Cgroupfs),
            CgroupDriver::Systemd => Some(Driver::Systemd),
        },
        pids_limit: config.cgroup.pids_limit,
        network: matches!(network.kind, NetworkKind::Bridge | NetworkKind::Auto).then(bridge),
        cni: CniSettings {
            conf_dir: config.cni.conf_dir.clone(),
            bin_dirs: config.cni.bin_dirs.clone(),
            timeout: config.cni.timeout.get(),
            // Durable: what plugins keep of a pod outlives the machine's boot, and has to be released then.
            state_dir: config.root_dir.join("cni"),
            native: config.cni.native.clone(),
        },
        cni_use: match network.kind {
            NetworkKind::Auto => CniUse::WhenConfigured,
            NetworkKind::Cni => CniUse::Always,
            NetworkKind::Bridge | NetworkKind::None => CniUse::Never,
        },
        netns_dir: network.netns_dir.clone(),
        cdi_dirs: config.cdi.dirs.clone(),
        image_volumes: match config.image.volumes {
            VolumesConfig::Bind => ImageVolumes::Bind,
            VolumesConfig::Ignore => ImageVolumes::Ignore,
        },
        experiments: config.experiments.allow.clone(),
    })
}

/// The shim program: as configured, or beside this program.
fn shim(config: &Config) -> Result<PathBuf, StartError> {
    if let Some(shim) = &config.shim {
        return Ok(shim.clone());
    }
    let own = env::current_exe().map_err(system("find this program, beside which the shim is"))?;
    Ok(own.with_file_name("holdfast-shim"))
}

fn facts(config: &Config, started: Instant) -> Result<Facts, StartError> {
    let boot_id = proc::boot_id().map_err(system("read the boot id"))?;
    Ok(Facts {
        boot_id,
        config: serde_json::to_value(config).unwrap_or_default(),
        started,
        containers_dir: config.root_dir.join("containers"),
        cgroup_namespaces: Path::new("/proc/self/ns/cgroup").exists(),
    })
}
