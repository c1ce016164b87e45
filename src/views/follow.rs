//! The thread that keeps the views of a job level with the lake.
//!
//! It hears of manifests, looks at the watch list each second, and writes what changed. Nothing waits for it, and it
//! keeps no queue: it is told of the newest manifest only. Whatever goes wrong costs a warning and a rebuild from the
//! lake; nothing of it reaches the job.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use anyhow::{Context, Result, anyhow};
use ct_dataflows::guard::guarded;
use ct_dataflows::modules::WatchItem;
use ct_sinks::hot::{Fields, HotState, ViewChanges, newest_sequence};
use ct_sinks::lake::Lake;
use tracing::{info, warn};

use super::{LakeViews, items_of};
use crate::config::ViewsConfig;

/// How often the watch list is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often hot state is asked whether it still has what was written, while nothing changes.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// After something went wrong.
const PAUSE: Duration = Duration::from_secs(4);

/// The thread, seen from the job. Dropping it stops it.
pub struct Follower {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
}

#[derive(Default)]
struct Control {
    /// The newest manifest of the lake, and the one that hot state shows, if any.
    newest: u64,
    shown: Option<u64>,
    /// The watch list is to be looked at now.
    look: bool,
    stop: bool,
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Starts with what the lake has now.
    pub fn start(lake: Lake, hot: Box<dyn HotState>, config: ViewsConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        thread::Builder::new().name("views".to_owned()).spawn(move || run(&lake, hot, &config, &own))?;
        Ok(Self { shared })
    }

    /// Says that manifest `sequence` is published. Never waits.
    pub fn published(&self, sequence: u64) {
        let mut control = self.shared.control();
        control.newest = control.newest.max(sequence);
        drop(control);
        self.shared.changed.notify_all();
    }

    /// Has the watch list looked at now.
    pub fn look(&self) {
        self.shared.control().look = true;
        self.shared.changed.notify_all();
    }

    /// Waits until hot state shows the newest manifest, at most so long, and ends.
    pub fn finish(self, wait: Duration) {
        let deadline = Instant::now() + wait;
        let mut control = self.shared.control();
        while control.shown.is_none_or(|shown| shown < control.newest) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            control = self.shared.changed.wait_timeout(control, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.control().stop = true;
        self.shared.changed.notify_all();
    }
}

fn run(lake: &Lake, mut hot: Box<dyn HotState>, config: &ViewsConfig, shared: &Shared) {
    let mut list = List::new(config.watch_file.clone());
    loop {
        // A timely worker that failed is of no use: each attempt begins anew from the lake.
        let ended = guarded(|| follow(lake, hot.as_mut(), config, shared, &mut list));
        match ended.unwrap_or_else(|panic| Err(anyhow!("the views failed: {panic}"))) {
            Ok(End::Stop) => return,
            Ok(End::Anew) => info!("the horizon went back; views begin anew"),
            Err(error) => {
                warn!(error = format!("{error:#}"), "views are behind; the job goes on, and they are built anew");
                if !pause(shared, PAUSE) {
                    return;
                }
            }
        }
    }
}

enum End {
    Stop,
    Anew,
}

/// Waits; `false` when it is to end.
fn pause(shared: &Shared, length: Duration) -> bool {
    let end = Instant::now() + length;
    let mut control = shared.control();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if control.stop || left.is_zero() {
            return !control.stop;
        }
        control = shared.changed.wait_timeout(control, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Follows the lake until it is to stop, or until it has to begin anew.
fn follow(lake: &Lake, hot: &mut dyn HotState, config: &ViewsConfig, shared: &Shared, list: &mut List) -> Result<End> {
    let mut views = LakeViews::new(lake.clone(), config);
    let at_start = newest_sequence(lake)?;
    list.forget();
    let mut writer = Writer { before: None, is_due: true, is_away: false };
    let (mut read, mut checked) = (None, Instant::now());
    loop {
        let newest = {
            let mut control = shared.control();
            control.newest = control.newest.max(at_start);
            control.look = false;
            control.newest
        };
        if let Some(items) = list.look() {
            views.set_items(items);
            writer.is_due = true;
        }
        if read != Some(newest) {
            if !views.read(newest)? {
                return Ok(End::Anew);
            }
            read = Some(newest);
            writer.is_due = true;
        }
        if writer.is_due || checked.elapsed() >= CHECK_EVERY {
            checked = Instant::now();
            writer.write(&mut views, hot);
        }
        let mut control = shared.control();
        if !writer.is_due {
            control.shown = Some(newest);
            shared.changed.notify_all();
        }
        let end = Instant::now() + LOOK_EVERY;
        while !control.stop && !control.look && control.newest == newest {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            control = shared.changed.wait_timeout(control, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if control.stop {
            return Ok(End::Stop);
        }
    }
}

/// What hot state has of the views.
struct Writer {
    /// The state that was left there; `None` when all is to be written.
    before: Option<Fields>,
    /// Something changed since the last time that writing went well.
    is_due: bool,
    is_away: bool,
}

impl Writer {
    /// Writes what changed, or everything where hot state was lost. While it is away, a later attempt has it all.
    fn write(&mut self, views: &mut LakeViews, hot: &mut dyn HotState) {
        let before = self.before.take();
        if before.is_none() {
            views.touch();
        }
        let (values, state) = (views.take(), views.state());
        self.is_due = true;
        match hot.set_views(&ViewChanges { values: &values, before: before.as_ref(), state: &state }) {
            Ok(true) => {
                if std::mem::take(&mut self.is_away) {
                    info!("views are written again");
                }
                (self.before, self.is_due) = (Some(state), false);
            }
            // It was emptied meanwhile.
            Ok(false) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    let error = anyhow::Error::from(error);
                    warn!(error = format!("{error:#}"), "views cannot be written now; they will catch up");
                }
            }
        }
    }
}

/// The file with the watch list.
struct List {
    path: Option<PathBuf>,
    /// What it said when it was last looked at, or why it could not be read.
    text: Option<Result<String, String>>,
    items: Vec<WatchItem>,
    /// The views do not have the items.
    is_new: bool,
}

impl List {
    fn new(path: Option<PathBuf>) -> Self {
        Self { path, text: None, items: Vec::new(), is_new: true }
    }

    /// The next look gives the items, changed or not.
    fn forget(&mut self) {
        self.is_new = true;
    }

    /// The items, if the views do not have them. A list that cannot be read changes nothing.
    fn look(&mut self) -> Option<Vec<WatchItem>> {
        let path = self.path.as_deref()?;
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        if self.text.as_ref() != Some(&text) {
            let items = match &text {
                Ok(text) => items_of(path, text),
                Err(error) => Err(anyhow!("{error}")).with_context(|| format!("reading {}", path.display())),
            };
            match items {
                Ok(items) => (self.items, self.is_new) = (items, true),
                Err(error) => {
                    let error = format!("{error:#}");
                    warn!(error, "the watch list cannot be used; views keep the one before");
                }
            }
            self.text = Some(text);
        }
        std::mem::take(&mut self.is_new).then(|| self.items.clone())
    }
}
