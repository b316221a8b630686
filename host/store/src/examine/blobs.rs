//! Blobs: what is referred to is there, and each has the bytes that its name says.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use vivarium_domain::{ContentHash, CorpusDocument, InstalledRecord, Run, SessionMessage, TenantId};

use super::{Examined, Examiner};
use crate::batch::list_of;
use crate::table::{Key, Table, last_hash};

/// Who refers to what, in words; none: it may be gone already.
type References = HashMap<(TenantId, ContentHash), Option<String>>;

impl Examiner<'_> {
    pub(super) fn blobs(&self) -> Examined {
        let mut found = Examined::new("blobs");
        let references = self.references(&mut found);
        let (mut there, mut unused) = (HashSet::new(), 0_u64);
        for blob in self.store.blobs.listing() {
            let (tenant, hash, mut content) = match blob {
                Ok(blob) => blob,
                Err(error) => {
                    found.error(format!("the rest of the blobs can not be listed: {error}"));
                    return found.done();
                }
            };
            if self.closed.contains(&tenant) {
                continue;
            }
            found.count += 1;
            match hash_of(&mut content) {
                Ok(read) => found
                    .expect(read == hash, || format!("blob {hash} of tenant {tenant}: its bytes have another hash")),
                Err(error) => found.error(format!("blob {hash} of tenant {tenant} can not be read: {error}")),
            }
            let place = (tenant, hash);
            unused += u64::from(!references.contains_key(&place));
            there.insert(place);
        }
        for ((tenant, hash), by) in references.iter().filter(|(place, _)| !there.contains(place)) {
            if let Some(by) = by {
                found.error(format!("blob {hash} of tenant {tenant} is not there; {by} refers to it"));
            }
        }
        if unused > 0 {
            found.warning(format!("{unused} blobs are referred to by nothing: a crash or a backup leaves such"));
        }
        found.done()
    }

    fn references(&self, found: &mut Examined) -> References {
        let mut references = References::new();
        self.each::<Run>(Table::Runs, |tenant, key, run| {
            let log = self.log(key);
            // Many runs share it, and nobody counts them.
            references.extend(log.tools.map(|tools| ((tenant.clone(), tools), Some(format!("run {}", run.id)))));
            for text in log.texts {
                let used = self.has(Table::BlobUses, Key::of(tenant).hash(&text).run(run.id).as_slice());
                found.expect(used, || {
                    format!("blob {text} of tenant {tenant} does not know that run {} uses it", run.id)
                });
                references.insert((tenant.clone(), text), Some(format!("run {}", run.id)));
            }
            for kept in &run.settings.attachments {
                // The files of a stateless run go when it ends.
                let by = (!run.stateless).then(|| format!("run {}", run.id));
                references
                    .entry((tenant.clone(), kept.content))
                    .and_modify(|of| *of = of.take().or(by.clone()))
                    .or_insert(by);
            }
        });
        self.each_key(Table::Messages, |tenant, key, payload| {
            let Ok((_, messages)) = list_of(Table::Messages, key, payload) else { return };
            for message in messages.iter().filter_map(|json| serde_json::from_slice::<SessionMessage>(json).ok()) {
                for kept in message.attachments {
                    references
                        .insert((tenant.clone(), kept.content), Some(format!("a message of run {}", message.run_id)));
                }
            }
        });
        self.each_key(Table::SessionFiles, |tenant, key, _| {
            if let Some(file) = last_hash(key) {
                // A message may refer to it, too, and says so.
                references.entry((tenant.clone(), file)).or_insert(None);
            }
        });
        self.each::<CorpusDocument>(Table::Documents, |tenant, _, document| {
            references.insert((tenant.clone(), document.content), Some(format!("document {}", document.id)));
        });
        self.each::<InstalledRecord>(Table::Plugins, |tenant, _, record| {
            for version in &record.versions {
                references.insert((tenant.clone(), version.digest), Some(format!("plugin {}", record.name)));
            }
        });
        references
    }
}

fn hash_of(content: &mut impl Read) -> io::Result<ContentHash> {
    let mut hasher = Sha256::new();
    io::copy(content, &mut hasher)?;
    Ok(<[u8; 32]>::from(hasher.finalize()).into())
}
