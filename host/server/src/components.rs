//! The components of the modes that come with the binary, kept beside the store: a run that is under way when the host is
//! upgraded goes on with the component that it began with, and that is no longer in the new binary.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use vivarium_domain::ContentHash;

/// What comes with this binary.
pub(crate) struct OurModes(pub(crate) Vec<(ContentHash, Vec<u8>)>);

/// Keeps the components of this binary in `folder`, and removes those of others that no run is pinned to.
pub(crate) fn keep(folder: &Path, ours: &OurModes, pinned: &BTreeSet<ContentHash>) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let name = |digest: &ContentHash| format!("{digest}.wasm");
    for (digest, bytes) in &ours.0 {
        let file = folder.join(name(digest));
        if file.metadata().is_ok_and(|there| there.len() == bytes.len() as u64) {
            continue;
        }
        // Renamed when it is whole. One that a crash has damaged all the same is seen by its hash when it is needed.
        let aside = folder.join(format!("{digest}.new"));
        std::fs::write(&aside, bytes)?;
        std::fs::rename(&aside, &file)?;
    }
    let needed = ours.0.iter().map(|(digest, _)| digest).chain(pinned).map(name);
    let needed: BTreeSet<String> = needed.collect();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| !needed.contains(name)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_is_pinned_to_stays_as_long_as_it_is_and_what_is_ours_always() {
        let folder = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| OurModes(vec![(ContentHash::of(bytes), bytes.to_vec())]);
        let kept = || {
            let mut kept: Vec<Vec<u8>> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
                .collect();
            kept.sort();
            kept
        };
        keep(folder.path(), &of(b"one"), &BTreeSet::new()).unwrap();
        keep(folder.path(), &of(b"two"), &BTreeSet::from([ContentHash::of(b"one")])).unwrap();
        assert_eq!(kept(), [b"one".to_vec(), b"two".to_vec()]);
        keep(folder.path(), &of(b"two"), &BTreeSet::new()).unwrap();
        assert_eq!(kept(), [b"two".to_vec()]);
    }
}
