//! Address management: leases that outlive the daemon, one small file each.
//!
//! A lease is a file named after the address whose content is the owner's id. The directory is read once, when
//! the daemon starts; after that memory answers, and the file is written before an address is given out and
//! removed before it is free again. So a crash at any instant leaves at worst a lease without a pod, which
//! [`Ipam::reconcile`] releases.
//!
//! Addresses are given out round robin, so that one that was just freed, which peers may still have in their
//! neighbour and connection tables, comes back as late as possible.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::subnet::Subnet;
use holdfast_disk::{Dir, DirError, Durability, FileName, FileNameError};

/// Longest owner id; ours have 64 characters.
const OWNER_LIMIT: usize = 256;

/// Why an address was not leased or released.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// Every address of a subnet is leased.
    #[error(
        "subnet {subnet} has no free address: all {leased} are leased; remove pods or configure a larger subnet"
    )]
    Exhausted {
        /// The subnet that is full.
        subnet: Subnet,
        /// How many addresses are leased.
        leased: u64,
    },
    /// The owner's id is empty, too long or not printable.
    #[error(
        "cannot lease an address: the owner id must be 1 to {OWNER_LIMIT} visible ASCII characters"
    )]
    Owner,
    /// The lease directory failed.
    #[error("cannot {operation}")]
    Lease {
        /// The operation, as a verb with the address.
        operation: String,
        /// The cause of the failure.
        #[source]
        source: DirError,
    },
    /// An address does not make a file name; cannot happen.
    #[error("cannot name the lease file of {address}")]
    Name {
        /// The address of the lease.
        address: IpAddr,
        /// The cause of the failure.
        #[source]
        source: FileNameError,
    },
}

/// The leases of all subnets of one network.
#[derive(Debug)]
pub struct Ipam {
    dir: Dir,
    state: Mutex<Assignments>,
}

#[derive(Debug)]
struct Assignments {
    pools: Vec<Pool>,
    /// In the order of the pools, as far as known.
    owners: HashMap<String, Vec<IpAddr>>,
}

#[derive(Debug)]
struct Pool {
    subnet: Subnet,
    used: OffsetSet,
    leased: u64,
    /// Where the search for a free address begins.
    next: u64,
}

/// A set of offsets as bits; grows to the largest one.
#[derive(Debug, Default)]
struct OffsetSet {
    words: Vec<u64>,
}

impl Ipam {
    /// Reads the leases of a directory. Files that are not leases are left alone; leases outside the subnets,
    /// after the configuration changed, are kept for their owners until released.
    ///
    /// # Errors
    /// [`IpamError::Lease`] when the directory cannot be read.
    pub fn open(dir: Dir, subnets: &[Subnet]) -> Result<Ipam, IpamError> {
        let failed = |operation: &str, source| IpamError::Lease {
            operation: operation.to_owned(),
            source,
        };
        dir.sweep_temporaries()
            .map_err(|error| failed("sweep the lease directory", error))?;
        let mut state = Assignments {
            pools: subnets.iter().map(|subnet| Pool::new(*subnet)).collect(),
            owners: HashMap::new(),
        };
        let entries = dir
            .entries()
            .map_err(|error| failed("list the leases", error))?;
        for entry in entries {
            let Some(address) = entry.name.as_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let owner = dir
                .read_file(&entry.name, OWNER_LIMIT)
                .map_err(|error| failed(&format!("read the lease of {address}"), error))?
                .unwrap_or_default();
            state.insert(String::from_utf8_lossy(&owner).into_owned(), address);
        }
        // Where the last daemon stood is not recorded: going on behind the highest lease comes close.
        for pool in &mut state.pools {
            pool.next = pool.used.last().map_or(2, |last| last + 1);
        }
        Ok(Ipam {
            dir,
            state: Mutex::new(state),
        })
    }

    /// Leases one address of every subnet to an owner, in the order of the subnets. An owner that has leases
    /// gets the same addresses again.
    ///
    /// # Errors
    /// [`IpamError::Exhausted`]; [`IpamError::Lease`] when a lease cannot be written, and then nothing is
    /// leased that was not before.
    pub fn lease(&self, owner: &str) -> Result<Vec<(IpAddr, Subnet)>, IpamError> {
        if owner.is_empty()
            || owner.len() > OWNER_LIMIT
            || !owner.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(IpamError::Owner);
        }
        let mut state = self.lock();
        let held = state.owners.get(owner).cloned().unwrap_or_default();
        let mut addresses = Vec::with_capacity(state.pools.len());
        let mut fresh = Vec::new();
        for index in 0..state.pools.len() {
            let subnet = state.pools[index].subnet;
            let known = held
                .iter()
                .copied()
                .find(|address| subnet.offset(*address).is_some());
            let leased = match known {
                Some(address) => Ok(address),
                None => self
                    .lease_new(&mut state, index, owner)
                    .inspect(|address| fresh.push(*address)),
            };
            match leased {
                Ok(address) => addresses.push((address, subnet)),
                Err(error) => {
                    for address in fresh {
                        // What stays on disk belongs to an owner that will not live, and is reconciled.
                        let _ = self.release_one(&mut state, owner, address);
                    }
                    return Err(error);
                }
            }
        }
        Ok(addresses)
    }

    /// Releases everything an owner has; an unknown owner is success.
    ///
    /// # Errors
    /// [`IpamError::Lease`] when a lease cannot be removed; it then stays leased.
    pub fn release(&self, owner: &str) -> Result<(), IpamError> {
        let mut state = self.lock();
        for address in state.owners.get(owner).cloned().unwrap_or_default() {
            self.release_one(&mut state, owner, address)?;
        }
        Ok(())
    }

    /// Releases the leases of all owners that are not alive, and returns how many addresses that freed.
    ///
    /// # Errors
    /// As [`Ipam::release`], after all were tried.
    pub fn reconcile(&self, live: &HashSet<&str>) -> Result<usize, IpamError> {
        let mut state = self.lock();
        let dead: Vec<(String, Vec<IpAddr>)> = state
            .owners
            .iter()
            .filter(|(owner, _)| !live.contains(owner.as_str()))
            .map(|(owner, addresses)| (owner.clone(), addresses.clone()))
            .collect();
        let mut first_error = None;
        let mut freed = 0;
        for (owner, addresses) in dead {
            for address in addresses {
                match self.release_one(&mut state, &owner, address) {
                    Ok(()) => freed += 1,
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        first_error.map_or(Ok(freed), Err)
    }

    /// Whether anything is leased.
    pub fn is_used(&self) -> bool {
        !self.lock().owners.is_empty()
    }

    /// Returns the addresses that an owner has leased.
    pub fn addresses(&self, owner: &str) -> Vec<IpAddr> {
        self.lock().owners.get(owner).cloned().unwrap_or_default()
    }

    /// Takes the file away first: a crash in between leaves an address that is free on disk and in use
    /// nowhere.
    fn release_one(
        &self,
        state: &mut Assignments,
        owner: &str,
        address: IpAddr,
    ) -> Result<(), IpamError> {
        self.dir
            .remove_file(&file_name(address)?)
            .map_err(|source| IpamError::Lease {
                operation: format!("release the lease of {address}"),
                source,
            })?;
        state.remove(owner, address);
        Ok(())
    }

    fn lease_new(
        &self,
        state: &mut Assignments,
        index: usize,
        owner: &str,
    ) -> Result<IpAddr, IpamError> {
        let address = state.pools[index].free()?;
        // The runtime state does not outlive the machine, so a power failure needs no sync.
        self.dir
            .replace(&file_name(address)?, owner.as_bytes(), Durability::Volatile)
            .map_err(|source| IpamError::Lease {
                operation: format!("write the lease of {address}"),
                source,
            })?;
        state.insert(owner.to_owned(), address);
        Ok(address)
    }

    fn lock(&self) -> MutexGuard<'_, Assignments> {
        // A panic between two steps leaves at worst a lease too many.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Assignments {
    fn insert(&mut self, owner: String, address: IpAddr) {
        for pool in &mut self.pools {
            if let Some(offset) = pool.subnet.offset(address)
                && pool.used.insert(offset)
            {
                pool.leased += 1;
                pool.next = offset + 1;
            }
        }
        self.owners.entry(owner).or_default().push(address);
    }

    fn remove(&mut self, owner: &str, address: IpAddr) {
        for pool in &mut self.pools {
            if let Some(offset) = pool.subnet.offset(address)
                && pool.used.remove(offset)
            {
                pool.leased -= 1;
            }
        }
        if let Some(addresses) = self.owners.get_mut(owner) {
            addresses.retain(|held| *held != address);
            if addresses.is_empty() {
                self.owners.remove(owner);
            }
        }
    }
}

impl Pool {
    fn new(subnet: Subnet) -> Pool {
        Pool {
            subnet,
            used: OffsetSet::default(),
            leased: 0,
            next: 2,
        }
    }

    /// The first free address from where the last search ended, around the end of the subnet.
    fn free(&self) -> Result<IpAddr, IpamError> {
        let range = self.subnet.offsets();
        let start = self.next.clamp(range.start, range.end);
        let offset = self
            .used
            .first_absent(start..range.end)
            .or_else(|| self.used.first_absent(range.start..start))
            .ok_or(IpamError::Exhausted {
                subnet: self.subnet,
                leased: self.leased,
            })?;
        Ok(self.subnet.host(offset))
    }
}

impl OffsetSet {
    fn at(offset: u64) -> (usize, u64) {
        (
            usize::try_from(offset / 64).unwrap_or(usize::MAX),
            1 << (offset % 64),
        )
    }

    fn insert(&mut self, offset: u64) -> bool {
        let (word, bit) = OffsetSet::at(offset);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let absent = self.words[word] & bit == 0;
        self.words[word] |= bit;
        absent
    }

    fn remove(&mut self, offset: u64) -> bool {
        let (word, bit) = OffsetSet::at(offset);
        let Some(word) = self.words.get_mut(word) else {
            return false;
        };
        let present = *word & bit != 0;
        *word &= !bit;
        present
    }

    fn last(&self) -> Option<u64> {
        let (index, word) = self
            .words
            .iter()
            .enumerate()
            .rfind(|(_, word)| **word != 0)?;
        Some(u64::try_from(index).ok()? * 64 + u64::from(word.ilog2()))
    }

    /// The smallest offset of a range that is not in the set; full words are passed over whole.
    fn first_absent(&self, range: std::ops::Range<u64>) -> Option<u64> {
        let mut offset = range.start;
        while offset < range.end {
            let (word, _) = OffsetSet::at(offset);
            let used = self.words.get(word).copied().unwrap_or(0);
            let absent = !used & (u64::MAX << (offset % 64));
            if absent != 0 {
                let found = offset / 64 * 64 + u64::from(absent.trailing_zeros());
                return (found < range.end).then_some(found);
            }
            offset = (offset / 64 + 1) * 64;
        }
        None
    }
}

fn file_name(address: IpAddr) -> Result<FileName, IpamError> {
    FileName::new(address.to_string()).map_err(|source| IpamError::Name { address, source })
}
