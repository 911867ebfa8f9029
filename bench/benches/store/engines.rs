//! The embedded engines that were considered, each used as its documentation advises for one durable commit per group.

use std::{fs, path::Path};

use super::{
    Open,
    candidate::{Candidate, Event},
};

pub(crate) fn all() -> Vec<(&'static str, Open)> {
    vec![
        ("SQLite (rusqlite 0.40)", |path| Box::new(Sqlite::open(path))),
        ("fjall 3", |path| Box::new(Fjall::open(path))),
        ("redb 4", |path| Box::new(Redb::open(path))),
    ]
}

struct Sqlite(rusqlite::Connection);

impl Sqlite {
    fn open(path: &Path) -> Self {
        fs::create_dir_all(path).expect("the folder can be made");
        let connection = rusqlite::Connection::open(path.join("store.sqlite")).expect("opens");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE IF NOT EXISTS channels (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
                 CREATE TABLE IF NOT EXISTS events (channel INTEGER, offset INTEGER, at INTEGER, sender TEXT, data BLOB,
                                                    PRIMARY KEY (channel, offset)) WITHOUT ROWID;",
            )
            .expect("tables");
        connection.set_prepared_statement_cache_capacity(16);
        Self(connection)
    }

    fn channel(&self, name: &str) -> i64 {
        let number: &str = name.rsplit('-').next().unwrap_or_default();
        number.parse().expect("a room's number")
    }
}

impl Candidate for Sqlite {
    fn append(&mut self, events: &[Event]) {
        let channels: Vec<i64> = events.iter().map(|event| self.channel(&event.channel)).collect();
        let transaction = self.0.transaction().expect("begins");
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)").expect("prepared");
            for (event, channel) in events.iter().zip(channels) {
                insert
                    .execute((channel, event.offset as i64, event.at as i64, &event.from, &event.data))
                    .expect("inserted");
            }
        }
        transaction.commit().expect("committed");
    }

    fn read(&self, channel: &str, after: u64, limit: usize) -> usize {
        let mut select = self
            .0
            .prepare_cached(
                "SELECT offset, at, sender, data FROM events WHERE channel = ?1 AND offset > ?2 ORDER BY offset LIMIT ?3",
            )
            .expect("prepared");
        let rows = select
            .query_map((self.channel(channel), after as i64, limit as i64), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?, row.get::<_, Vec<u8>>(3)?))
            })
            .expect("rows");
        rows.filter(|row| row.as_ref().is_ok_and(|row| !row.3.is_empty())).count()
    }
}

struct Fjall {
    database: fjall::Database,
    events: fjall::Keyspace,
}

impl Fjall {
    fn open(path: &Path) -> Self {
        let database = fjall::Database::builder(path).open().expect("opens");
        let events = database.keyspace("events", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
        Self { database, events }
    }
}

impl Candidate for Fjall {
    fn append(&mut self, events: &[Event]) {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for event in events {
            batch.insert(&self.events, Event::key(&event.channel, event.offset), event.value());
        }
        batch.commit().expect("committed");
    }

    fn read(&self, channel: &str, after: u64, limit: usize) -> usize {
        let range = Event::key(channel, after + 1)..=Event::key(channel, u64::MAX);
        let values = self.events.range(range).take(limit).map(|guard| guard.value().expect("a value").to_vec());
        values.filter(|value| !value.is_empty()).count()
    }
}

const EVENTS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("events");

struct Redb(redb::Database);

impl Redb {
    fn open(path: &Path) -> Self {
        fs::create_dir_all(path).expect("the folder can be made");
        Self(redb::Database::create(path.join("store.redb")).expect("opens"))
    }
}

impl Candidate for Redb {
    fn append(&mut self, events: &[Event]) {
        let write = self.0.begin_write().expect("begins");
        {
            let mut table = write.open_table(EVENTS).expect("a table");
            for event in events {
                let key = Event::key(&event.channel, event.offset);
                table.insert(&*key, &*event.value()).expect("inserted");
            }
        }
        write.commit().expect("committed");
    }

    fn read(&self, channel: &str, after: u64, limit: usize) -> usize {
        use redb::ReadableDatabase as _;
        let read = self.0.begin_read().expect("begins");
        let table = read.open_table(EVENTS).expect("a table");
        let (from, to) = (Event::key(channel, after + 1), Event::key(channel, u64::MAX));
        let rows = table.range(&*from..=&*to).expect("rows").take(limit);
        rows.map(|row| row.expect("a row").1.value().to_vec()).filter(|value| !value.is_empty()).count()
    }
}
