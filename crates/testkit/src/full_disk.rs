//! A store that refuses what calls want to keep, as one on a full disk does.

use rusqlite::Connection;

use crate::TestServer;

/// Where a call's commits write.
const TABLES: [&str; 3] = ["call", "operation", "notification"];

/// While this lives, no commit of a call succeeds; reading and delivering go on.
pub struct FullDisk(Connection);

impl FullDisk {
    /// From now on.
    pub fn of(server: &TestServer) -> Self {
        let database = server.directory().join("store/graphophone.db");
        let connection = Connection::open(database).expect("the store is there");
        for table in TABLES {
            let refuse = format!(
                "CREATE TRIGGER full_{table} BEFORE INSERT ON {table}
                 BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            );
            connection.execute_batch(&refuse).expect("the store can be changed");
        }
        Self(connection)
    }

    /// There is room again.
    pub fn freed(self) {
        for table in TABLES {
            let allow = format!("DROP TRIGGER full_{table}");
            self.0.execute_batch(&allow).expect("the store can be changed back");
        }
    }
}
