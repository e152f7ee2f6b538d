//! A store that refuses what calls want to keep, as one on a full disk does.

use rusqlite::Connection;

use crate::TestServer;

/// While this lives, no commit of a call succeeds; reading and delivering go on.
pub struct FullDisk(Connection);

impl FullDisk {
    /// From now on.
    pub fn of(server: &TestServer) -> Self {
        let database = server.directory().join("store/graphophone.db");
        let connection = Connection::open(database).expect("the store is there");
        let refuse = "CREATE TRIGGER full BEFORE INSERT ON call
                      BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
        connection.execute_batch(refuse).expect("the store can be changed");
        Self(connection)
    }

    /// There is room again.
    pub fn freed(self) {
        self.0.execute_batch("DROP TRIGGER full").expect("the store can be changed back");
    }
}
