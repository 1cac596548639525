//! Writing a batch in one transaction.

use operone_core::cache::ContentHash;
use operone_core::id::MemoryId;
use operone_core::memory::{
    Batch, Entry, Operation, Receipt, Revision, ScopeKey, WriteKey, WriteOutcome, Written,
};
use rusqlite::{Connection, params};

use super::read::current;
use super::{Found, content_number, find, set_revision};
use crate::database::integer;
use crate::error::Failure;
use crate::json::{json, to_json};

/// How many old records are entered in one transaction when a file is brought up to date.
const ENTERED_AT_ONCE: i64 = 10_000;

pub(super) fn write(db: &Connection, scope: &ScopeKey, batch: &Batch) -> Result<Receipt, Failure> {
    let found = find(db, scope)?;
    if let (Some(found), Some(key)) = (&found, &batch.key)
        && let Some(receipt) = replay(db, found.number, key)?
    {
        return Ok(receipt);
    }
    let revision = found.as_ref().map(|found| found.revision).unwrap_or_default();
    batch.check_revision(revision)?;
    if batch.operations.is_empty() && batch.marks.is_empty() && batch.key.is_none() {
        return Ok(Receipt::new(Vec::new(), revision));
    }
    let Found { number, revision } = match found {
        Some(found) => found,
        None => create(db, scope)?,
    };
    let mut writing = Writing { db, tenant: scope.tenant.as_str(), scope: number, revision, batch };
    let mut written = Vec::with_capacity(batch.operations.len());
    for (place, operation) in batch.operations.iter().enumerate() {
        written.push(match operation {
            Operation::Put { entry, unique } => writing.put(place, entry, *unique)?,
            Operation::Replace { entry, expected } => writing.replace(place, entry, *expected)?,
            _ => return Err(operone_core::Error::internal("an operation that this store does not know").into()),
        });
    }
    let revision = writing.revision;
    set_revision(db, number, revision)?;
    for (name, value) in &batch.marks {
        let mut statement =
            db.prepare_cached("INSERT OR REPLACE INTO marks (scope, name, number) VALUES (?1, ?2, ?3)")?;
        statement.execute(params![number, name, integer(*value)])?;
    }
    let receipt = Receipt::new(written, revision);
    if let Some(key) = &batch.key {
        keep(db, number, key, batch, &receipt)?;
    }
    Ok(receipt)
}

/// Enters the memories of a file of the first schema in `contents`.
pub(super) fn enter_contents(db: &Connection) -> rusqlite::Result<()> {
    loop {
        let transaction = db.unchecked_transaction()?;
        let mut entered = 0;
        {
            let mut select = transaction.prepare(
                "SELECT records.number, records.scope, records.entry FROM to_enter
                 JOIN records ON records.number = to_enter.record WHERE records.kept = 1 LIMIT ?1",
            )?;
            let mut insert = transaction.prepare("INSERT OR IGNORE INTO contents VALUES (?1, ?2, ?3)")?;
            let mut done = transaction.prepare("DELETE FROM to_enter WHERE record = ?1")?;
            let mut rows = select.query([ENTERED_AT_ONCE])?;
            let mut seen = Vec::new();
            while let Some(row) = rows.next()? {
                let (record, scope): (i64, i64) = (row.get(0)?, row.get(1)?);
                // One that cannot be read is no duplicate of anything; whoever reads it is told.
                if let Ok(entry) = json::<Entry>(row, 2, "a memory") {
                    insert.execute(params![scope, content_number(&entry), record])?;
                }
                seen.push(record);
            }
            for record in seen {
                entered += done.execute([record])?;
            }
        }
        transaction.commit()?;
        if entered == 0 {
            return Ok(());
        }
    }
}

fn create(db: &Connection, scope: &ScopeKey) -> Result<Found, Failure> {
    let mut statement = db.prepare_cached("INSERT INTO scopes (tenant, scope) VALUES (?1, ?2)")?;
    let number = statement.insert(params![scope.tenant.as_str(), scope.scope.as_str()])?;
    Ok(Found { number, revision: Revision(0) })
}

fn replay(db: &Connection, scope: i64, key: &WriteKey) -> Result<Option<Receipt>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT fingerprint, revision, written FROM receipts WHERE scope = ?1 AND key = ?2",
    )?;
    let mut rows = statement.query(params![scope, key.key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let fingerprint = ContentHash(row.get(0)?);
    if fingerprint != key.fingerprint {
        return Err(key.reused().into());
    }
    let mut receipt = Receipt::new(json(row, 2, "a receipt")?, Revision(row.get(1)?));
    receipt.replayed = true;
    Ok(Some(receipt))
}

fn keep(
    db: &Connection,
    scope: i64,
    key: &WriteKey,
    batch: &Batch,
    receipt: &Receipt,
) -> Result<(), Failure> {
    let at = batch.at.as_millis();
    let too_old = at.saturating_sub(integer(WriteKey::KEPT_FOR.as_millis()));
    db.prepare_cached("DELETE FROM receipts WHERE scope = ?1 AND at <= ?2")?
        .execute(params![scope, too_old])?;
    let mut statement = db.prepare_cached(
        "INSERT INTO receipts (scope, key, fingerprint, at, revision, written) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let written = to_json(&receipt.written, "the receipt")?;
    let revision = integer(receipt.revision.0);
    statement.execute(params![scope, key.key, key.fingerprint.0, at, revision, written.as_bytes()])?;
    Ok(())
}

/// A batch on its way into one scope.
struct Writing<'a> {
    db: &'a Connection,
    tenant: &'a str,
    scope: i64,
    revision: Revision,
    batch: &'a Batch,
}

impl Writing<'_> {
    fn put(&mut self, place: usize, entry: &Entry, unique: bool) -> Result<Written, Failure> {
        if let Some(written) = self.holder(place, &entry.id)? {
            return Ok(written);
        }
        if unique && let Some(written) = self.same(entry)? {
            return Ok(written);
        }
        if entry.version == 1 {
            self.append(entry, WriteOutcome::Created)
        } else {
            self.append(&first_version(entry), WriteOutcome::Created)
        }
    }

    fn replace(&mut self, place: usize, entry: &Entry, expected: Option<u32>) -> Result<Written, Failure> {
        let Some((record, before)) = current(self.db, self.scope, &entry.id)? else {
            return Err(Operation::unknown(place, &entry.id).into());
        };
        let next = Operation::next_version(place, &before, entry, expected)?;
        withdraw(self.db, self.scope, record, &before)?;
        self.append(&next, WriteOutcome::Updated)
    }

    /// What to answer where the id was used before.
    fn holder(&self, place: usize, id: &MemoryId) -> Result<Option<Written>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT records.scope, records.kept, records.entry FROM records
             JOIN scopes ON scopes.number = records.scope
             WHERE records.id = ?1 AND records.entry IS NOT NULL AND scopes.tenant = ?2
             ORDER BY records.scope = ?3 DESC, records.number DESC LIMIT 1",
        )?;
        let mut rows = statement.query(params![id.as_str(), self.tenant, self.scope])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        if row.get::<_, i64>(0)? != self.scope {
            return Err(Operation::id_taken(place, id).into());
        }
        if !row.get::<_, bool>(1)? {
            return Ok(Some(Written::new(id.clone(), 0, WriteOutcome::Erased)));
        }
        let entry: Entry = json(row, 2, "a memory")?;
        Ok(Some(Written::new(entry.id, entry.version, WriteOutcome::Existing)))
    }

    /// A memory that can be read and says the same.
    fn same(&self, entry: &Entry) -> Result<Option<Written>, Failure> {
        let mut statement = self.db.prepare_cached(
            "SELECT records.entry FROM contents JOIN records ON records.number = contents.record
             WHERE contents.scope = ?1 AND contents.content = ?2 ORDER BY contents.record",
        )?;
        let mut rows = statement.query(params![self.scope, content_number(entry)])?;
        while let Some(row) = rows.next()? {
            let other: Entry = json(row, 0, "a memory")?;
            let is_readable = !other.is_expired(self.batch.at) && other.superseded_by.is_none();
            if is_readable && other.says_the_same_as(entry) {
                return Ok(Some(Written::new(other.id, other.version, WriteOutcome::Existing)));
            }
        }
        Ok(None)
    }

    fn append(&mut self, entry: &Entry, outcome: WriteOutcome) -> Result<Written, Failure> {
        self.revision.0 += 1;
        let mut statement = self.db.prepare_cached(
            "INSERT INTO records (scope, revision, id, kept, entry) VALUES (?1, ?2, ?3, 1, ?4)",
        )?;
        let json = to_json(entry, "the entry")?;
        let revision = integer(self.revision.0);
        let record = statement.insert(params![self.scope, revision, entry.id.as_str(), json.as_bytes()])?;
        let mut statement = self.db.prepare_cached("INSERT INTO contents VALUES (?1, ?2, ?3)")?;
        statement.execute(params![self.scope, content_number(entry), record])?;
        for origin in &entry.derived_from {
            let mut statement = self.db.prepare_cached("INSERT OR IGNORE INTO origins VALUES (?1, ?2)")?;
            statement.execute(params![origin.as_str(), record])?;
        }
        Ok(Written::new(entry.id.clone(), entry.version, outcome))
    }
}

/// Takes a record that is not, or no more, a memory's current version out of the tables that find it.
pub(super) fn withdraw(db: &Connection, scope: i64, record: i64, entry: &Entry) -> Result<(), Failure> {
    let mut statement =
        db.prepare_cached("DELETE FROM contents WHERE scope = ?1 AND content = ?2 AND record = ?3")?;
    statement.execute(params![scope, content_number(entry), record])?;
    for origin in &entry.derived_from {
        let mut statement = db.prepare_cached("DELETE FROM origins WHERE origin = ?1 AND record = ?2")?;
        statement.execute(params![origin.as_str(), record])?;
    }
    Ok(())
}

fn first_version(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    entry.version = 1;
    entry
}
