//! What the front door asks: who a caller is, a token for a password, and changes that bring passwords.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{
    AuthCommand, AuthReply, Command, Failure, Need, OperationError, PasswordHash, Proposer, Reply, Subject,
};

use super::token::{TokenText, digest, draw_letters, split};
use super::token_clock::Use;
use super::{Authority, Settings};
use crate::error::StoreError;
use crate::link::Applied;
use crate::store::Store;

/// How long a member waits for the entry that gave a token out, and how often it looks.
const ISSUE_PATIENCE: Duration = Duration::from_secs(1);
const ISSUE_POLL: Duration = Duration::from_millis(5);

/// What a caller brings to be recognized by.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The token of the metadata, if there is one that is not empty.
    pub token: Option<TokenText>,
    /// The common name of the certificate that the connection was made with, where certificates are asked for and this one
    /// was verified.
    pub common_name: Option<Arc<str>>,
    /// The call came through the JSON gateway. A connection to it may be shared by many: its certificate is nobody's.
    pub via_gateway: bool,
}

/// A change of users that brings a password, still as text.
pub enum ChangeAuth {
    /// Adds a user; none for one who has no password.
    UserAdd {
        /// The name.
        name: String,
        /// The password.
        password: Option<String>,
    },
    /// Changes a password.
    ChangePassword {
        /// Whose.
        name: String,
        /// The new one.
        password: String,
    },
}

impl std::fmt::Debug for ChangeAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChangeAuth::UserAdd { name, .. } => write!(f, "UserAdd({name})"),
            ChangeAuth::ChangePassword { name, .. } => write!(f, "ChangePassword({name})"),
        }
    }
}

impl Store {
    /// The same store, with proposals in somebody's name.
    #[must_use]
    pub fn acting_for(&self, proposer: Proposer) -> Store {
        Store(Arc::clone(&self.0), proposer)
    }

    /// In whose name this handle proposes.
    #[must_use]
    pub fn proposer(&self) -> &Proposer {
        &self.1
    }

    /// Whether authentication is on, as far as this member knows. Costs a load.
    #[must_use]
    pub fn auth_enabled(&self) -> bool {
        self.0.link.auth_enabled.load(Relaxed)
    }

    /// Who a caller is. One who brings nothing is nobody: a subject without a name, who may do nothing.
    ///
    /// # Errors
    /// `InvalidAuthToken`.
    pub async fn recognize(&self, caller: &Caller) -> Result<Subject, OperationError> {
        match (&caller.token, &self.settings().authority) {
            (Some(token), Authority::Jwt(jwt)) => jwt.check(token.reveal()),
            (Some(token), Authority::Simple) => self.recognize_simple(token.reveal()).await,
            (None, _) => {
                let certified = caller.common_name.as_ref().filter(|_| !caller.via_gateway);
                let user = certified.cloned().unwrap_or_else(|| Arc::from(""));
                Ok(Subject { user, revision: self.reader().auth_status().1 })
            }
        }
    }

    async fn recognize_simple(&self, token: &str) -> Result<Subject, OperationError> {
        let (letters, index) = split(token).ok_or(OperationError::InvalidAuthToken)?;
        let digest = digest(letters);
        if self.reader().token(&digest).is_none() {
            self.await_index(index).await;
        }
        let (found, revision) = self.reader().token(&digest).ok_or(OperationError::InvalidAuthToken)?;
        if found.index != index {
            return Err(OperationError::InvalidAuthToken);
        }
        match self.0.link.tokens.touch(digest, self.0.now()) {
            Use::Over => return Err(OperationError::InvalidAuthToken),
            Use::Good => {}
            Use::Tell => {
                let own = self.acting_for(Proposer::Member);
                let renewal = async move { own.propose(Command::Auth(AuthCommand::RenewToken { digest })).await };
                tokio::spawn(async move { drop(renewal.await) }); // where it fails, the next use of the token tells
            }
        }
        Ok(Subject { user: found.user, revision })
    }

    /// A token may be shown to a member that has not applied yet what gave it out.
    async fn await_index(&self, index: u64) {
        let deadline = self.0.now() + ISSUE_PATIENCE;
        while self.reader().applied().0 < index && self.0.now() < deadline {
            self.0.sleep(ISSUE_POLL).await;
        }
    }

    /// Decides whether a user may do what a request needs. A refusal is looked at again with what was committed meanwhile:
    /// this member may be late to learn of a permission.
    ///
    /// # Errors
    /// `UserEmpty`, `AuthOldRevision`, `PermissionDenied`; or where the state cannot be read.
    pub async fn permit(&self, subject: &Subject, needs: &[Need]) -> Result<(), Failure> {
        match self.reader().permit(subject, needs) {
            Err(Failure::Operation(OperationError::PermissionDenied)) => {}
            decided => return decided,
        }
        let denied = Err(OperationError::PermissionDenied.into());
        let (_, before) = self.reader().auth_status();
        if self.read_barrier().await.is_err() || self.reader().auth_status().1 == before {
            return denied;
        }
        let now = Subject { revision: self.reader().auth_status().1, ..subject.clone() };
        match self.reader().permit(&now, needs) {
            // It is permitted now, but the request was let in with what was known before: the client comes again.
            Ok(()) => Err(OperationError::AuthOldRevision.into()),
            decided => decided,
        }
    }

    /// Gives out a token for a password; also the revision and term for the answer's header.
    ///
    /// # Errors
    /// Where authentication is off, user or password are wrong, or the token is not committed in time.
    pub async fn authenticate(&self, name: &str, password: String) -> Result<(TokenText, i64, u64), StoreError> {
        self.read_barrier().await?; // first: this member may not have learned yet that authentication is on
        if !self.auth_enabled() {
            return Err(StoreError::Operation(OperationError::AuthNotEnabled));
        }
        let (reader, leadership) = (self.reader(), self.leadership().borrow().term);
        let (user, (_, revision)) = (reader.user(name), reader.auth_status());
        let right = self.settings().passwords.check(user.as_deref(), password).await?;
        let user = user.ok_or(StoreError::Operation(OperationError::AuthFailed))?;
        if user.password.is_none() {
            return Err(StoreError::Operation(OperationError::NoPasswordUser));
        }
        if !right {
            return Err(StoreError::Operation(OperationError::AuthFailed));
        }
        if let Authority::Jwt(jwt) = &self.settings().authority {
            let token = jwt.sign(&Subject { user: Arc::clone(&user.name), revision }).map_err(StoreError::Storage)?;
            return Ok((TokenText::new(token), reader.revision(), leadership));
        }
        let letters = draw_letters(&*self.0.surroundings.entropy);
        let issue = AuthCommand::IssueToken { user: name.to_owned(), since: user.since, digest: digest(&letters) };
        let applied = self.acting_for(Proposer::Member).propose(Command::Auth(issue)).await?;
        match applied.reply {
            Reply::Auth(AuthReply::Issued { index }) => {
                Ok((TokenText::new(format!("{letters}.{index}")), applied.revision, applied.term))
            }
            other => unreachable!("a token is answered with its index, not with {other:?}"),
        }
    }

    /// Carries out a change that brings a password: it is hashed here, and only the hash is replicated.
    ///
    /// # Errors
    /// Where the new password of a user that is there is empty, a password is too long, the change is refused, or not committed in time.
    pub async fn change_auth(&self, change: ChangeAuth) -> Result<Applied, StoreError> {
        let passwords = &self.settings().passwords;
        let command = match change {
            ChangeAuth::UserAdd { name, .. } if name.is_empty() => {
                return Err(StoreError::Operation(OperationError::UserEmpty));
            }
            ChangeAuth::ChangePassword { password, .. } if password.is_empty() => {
                return Err(StoreError::Operation(OperationError::InvalidAuthManagement));
            }
            // As in etcd: nobody can log in as that user before there is another password. Nothing has an empty hash.
            ChangeAuth::UserAdd { name, password: Some(password) } if password.is_empty() => {
                AuthCommand::UserAdd { name, password: Some(PasswordHash(Bytes::new())) }
            }
            ChangeAuth::UserAdd { name, password: None } => AuthCommand::UserAdd { name, password: None },
            ChangeAuth::UserAdd { name, password: Some(password) } => {
                AuthCommand::UserAdd { name, password: Some(passwords.hash(password).await?) }
            }
            ChangeAuth::ChangePassword { name, password } => {
                AuthCommand::UserChangePassword { name, password: passwords.hash(password).await? }
            }
        };
        self.propose(Command::Auth(command)).await
    }

    fn settings(&self) -> &Settings {
        &self.0.auth
    }
}
