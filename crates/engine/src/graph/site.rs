//! Provenance: where in the user's program a node was made, as a small id resolved only when shown.
//!
//! An embedder (the Python bindings) registers a provider that names the line of its own language;
//! otherwise the caller's `Location` is taken.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, LazyLock, OnceLock};

use parking_lot::Mutex;

/// A line of the user's program; 0 means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Site(pub u32);

/// More distinct lines than this are not told apart: no program's source is that long, so the
/// table cannot grow without bound through generated code.
const MOST: usize = 1 << 20;

#[derive(Default)]
struct Table {
    lines: Vec<(Arc<str>, u32)>,
    ids: HashMap<(Arc<str>, u32), u32>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);
static PROVIDER: OnceLock<fn() -> Site> = OnceLock::new();

thread_local! {
    static FORCED: Cell<Site> = const { Cell::new(Site(0)) };
    static LAST: Cell<(usize, Site)> = const { Cell::new((0, Site(0))) };
}

impl Site {
    /// The id of a file and line.
    pub fn intern(file: &str, line: u32) -> Self {
        let mut table = TABLE.lock();
        let key = (Arc::<str>::from(file), line);
        if let Some(&id) = table.ids.get(&key) {
            return Self(id);
        }
        if table.lines.len() >= MOST {
            return Self(0);
        }
        table.lines.push(key.clone());
        let id = table.lines.len() as u32;
        table.ids.insert(key, id);
        Self(id)
    }

    /// File and line, if known.
    pub fn resolve(self) -> Option<(Arc<str>, u32)> {
        let table = TABLE.lock();
        table.lines.get((self.0 as usize).checked_sub(1)?).cloned()
    }

    /// The line the user's program is at now.
    #[track_caller]
    #[inline]
    pub fn here() -> Self {
        let forced = FORCED.get();
        if forced.0 != 0 {
            return forced;
        }
        if let Some(provider) = PROVIDER.get() {
            return provider();
        }
        let location = Location::caller();
        let key = std::ptr::from_ref(location) as usize;
        let (last, site) = LAST.get();
        if last == key {
            return site;
        }
        let site = Self::intern(location.file(), location.line());
        LAST.set((key, site));
        site
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resolve() {
            Some((file, line)) => write!(f, "{file}:{line}"),
            None => f.write_str("an unknown line"),
        }
    }
}

/// Registers the function that names the current line; the first registration stays.
pub fn set_provider(provider: fn() -> Site) {
    let _ = PROVIDER.set(provider);
}

/// Makes every node recorded on this thread carry `site` until the guard is dropped: a backward
/// pass attributes what it records to the line that called it.
pub struct Forced(Site);

impl Forced {
    /// Sets the site; 0 keeps what is set.
    pub fn new(site: Site) -> Self {
        let before = FORCED.get();
        if site.0 != 0 {
            FORCED.set(site);
        }
        Self(before)
    }
}

impl Drop for Forced {
    fn drop(&mut self) {
        FORCED.set(self.0);
    }
}
