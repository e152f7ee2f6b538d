//! The application roles of the calling API, in the spellings that occur.

/// What a bot may do, as its tokens say (`roles` claim).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Place a call to one user or number.
    Initiate,
    /// Place a call to several, and invite others.
    InitiateGroupCall,
    /// Join a meeting.
    JoinGroupCall,
    /// Join a meeting as a guest.
    JoinGroupCallAsGuest,
    /// Touch the media of a call.
    AccessMedia,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 5] = [
        Self::Initiate,
        Self::InitiateGroupCall,
        Self::JoinGroupCall,
        Self::JoinGroupCallAsGuest,
        Self::AccessMedia,
    ];

    /// The spelling that Entra puts into tokens: singular.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiate => "Calls.Initiate.All",
            Self::InitiateGroupCall => "Calls.InitiateGroupCall.All",
            Self::JoinGroupCall => "Calls.JoinGroupCall.All",
            Self::JoinGroupCallAsGuest => "Calls.JoinGroupCallAsGuest.All",
            Self::AccessMedia => "Calls.AccessMedia.All",
        }
    }

    /// Reads a role in any case, singular as in tokens or plural as in the documents.
    pub fn parse(text: &str) -> Option<Self> {
        let plural = match text.to_ascii_lowercase().as_str() {
            "calls.initiategroupcalls.all" => Some(Self::InitiateGroupCall),
            "calls.joingroupcalls.all" => Some(Self::JoinGroupCall),
            "calls.joingroupcallsasguest.all" => Some(Self::JoinGroupCallAsGuest),
            _ => None,
        };
        plural.or_else(|| Self::ALL.into_iter().find(|role| role.name().eq_ignore_ascii_case(text)))
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The roles of one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleSet(u8);

impl RoleSet {
    /// Whether `role` is among them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Those that are in `most`, too.
    pub const fn among(self, most: Self) -> Self {
        Self(self.0 & most.0)
    }

    /// Whether there is none: such a token opens no call.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Roles of other APIs are passed over: they allow nothing here.
impl<'a> FromIterator<&'a str> for RoleSet {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        Self(names.into_iter().filter_map(Role::parse).fold(0, |set, role| set | role.bit()))
    }
}

impl FromIterator<Role> for RoleSet {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | role.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_role_mean_the_same() {
        for (text, role) in [
            ("Calls.Initiate.All", Role::Initiate),
            ("Calls.InitiateGroupCall.All", Role::InitiateGroupCall),
            ("Calls.InitiateGroupCalls.All", Role::InitiateGroupCall),
            ("Calls.JoinGroupCall.All", Role::JoinGroupCall),
            ("Calls.JoinGroupCalls.All", Role::JoinGroupCall),
            ("Calls.JoinGroupCallAsGuest.All", Role::JoinGroupCallAsGuest),
            ("Calls.JoinGroupCallsasGuest.All", Role::JoinGroupCallAsGuest),
            ("calls.accessmedia.all", Role::AccessMedia),
        ] {
            assert_eq!(Role::parse(text), Some(role), "{text}");
        }
        for text in ["", "Calls.Initiate", "Calls.Initiate.All ", "Calls.*", "User.Read.All"] {
            assert_eq!(Role::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_role_set_has_what_was_put_in_and_nothing_else() {
        let set: RoleSet = ["Calls.AccessMedia.All", "User.Read.All"].into_iter().collect();
        assert!(set.has(Role::AccessMedia));
        assert!(!set.has(Role::Initiate));
        assert!(!set.is_empty());
        assert!(["User.Read.All"].into_iter().collect::<RoleSet>().is_empty());
        let all: RoleSet = Role::ALL.into_iter().collect();
        assert!(Role::ALL.into_iter().all(|role| all.has(role)));
    }
}
