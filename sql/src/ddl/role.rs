//! Roles: CREATE, ALTER, DROP, GRANT role TO role. Passwords are kept as SCRAM-SHA-256 verifiers only.

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::{CatalogChange, RoleDescriptor};
use datum::{Datum, SqlType};
use hmac::{Hmac, KeyInit, Mac};
use planner::{DdlPlan, RoleOptions};
use sha2::{Digest, Sha256};

/// PostgreSQL's default number of rounds.
const SCRAM_ITERATIONS: u32 = 4096;

pub(super) fn apply(
    plan: &DdlPlan,
    change: &mut CatalogChange,
    ctx: &ExecContext,
) -> SqlResult<()> {
    match plan {
        DdlPlan::CreateRole { name, options, member_of, members, admins } => {
            let mut role = RoleDescriptor::named(name.clone());
            set_options(&mut role, options, ctx)?;
            let oid = change.create_role(role)?;
            for of in member_of {
                change.grant_role(*of, oid, false)?;
            }
            for member in members {
                change.grant_role(oid, *member, false)?;
            }
            for admin in admins {
                change.grant_role(oid, *admin, true)?;
            }
        }
        DdlPlan::AlterRole { role, options } => {
            let mut probe = RoleDescriptor::named("");
            set_options(&mut probe, options, ctx)?;
            let mut failed = None;
            change.alter_role(*role, |role| failed = set_options(role, options, ctx).err())?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        DdlPlan::RenameRole { role, name } => change.rename_role(*role, name)?,
        DdlPlan::DropRoles { roles, missing } => {
            for name in missing {
                change.notice(format!("role \"{name}\" does not exist, skipping"));
            }
            for role in roles {
                change.drop_role(*role)?;
            }
        }
        DdlPlan::GrantRole { roles, to, admin_option, revoke } => {
            for role in roles {
                for member in to {
                    match revoke {
                        true => change.revoke_role(*role, *member, *admin_option)?,
                        false => change.grant_role(*role, *member, *admin_option)?,
                    }
                }
            }
        }
        _ => return Err(SqlError::internal("not a statement about roles")),
    }
    Ok(())
}

fn set_options(
    role: &mut RoleDescriptor,
    options: &RoleOptions,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let set = |to: &mut bool, from: Option<bool>| {
        if let Some(value) = from {
            *to = value;
        }
    };
    set(&mut role.superuser, options.superuser);
    set(&mut role.create_db, options.create_db);
    set(&mut role.create_role, options.create_role);
    set(&mut role.inherit, options.inherit);
    set(&mut role.login, options.login);
    set(&mut role.replication, options.replication);
    set(&mut role.bypass_rls, options.bypass_rls);
    if let Some(limit) = options.connection_limit {
        role.connection_limit = limit;
    }
    match &options.password {
        None => {}
        Some(None) => role.password = None,
        Some(Some(password)) => role.password = Some(verifier(password)?),
    }
    if let Some(until) = &options.valid_until {
        let value = datum::text::parse(&SqlType::Timestamptz.into(), until, &ctx.types)?;
        role.valid_until = match value {
            Datum::Timestamptz(micros) => Some(micros),
            _ => None,
        };
    }
    Ok(())
}

/// What is stored for a password: RFC 5803's form, as PostgreSQL spells it.
fn verifier(password: &str) -> SqlResult<String> {
    if is_verifier(password) {
        return Ok(password.to_owned());
    }
    if password.starts_with("md5") && password.len() == 35 {
        return Err(SqlError::unsupported("an MD5 password").with_hint("Give the password itself."));
    }
    let salt: [u8; 16] = rand::random();
    Ok(verifier_with(password, &salt, SCRAM_ITERATIONS))
}

fn is_verifier(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("SCRAM-SHA-256$") else { return false };
    let parts: Vec<&str> = rest.split(['$', ':']).collect();
    parts.len() == 4
        && parts[0].parse::<u32>().is_ok()
        && parts[1..].iter().all(|part| STANDARD.decode(part).is_ok())
}

fn verifier_with(password: &str, salt: &[u8], iterations: u32) -> String {
    // Hi() of RFC 5802.
    let mut block = [salt, &1u32.to_be_bytes()].concat();
    let mut salted = [0u8; 32];
    for _ in 0..iterations {
        let round = mac(password.as_bytes(), &block);
        salted.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
        block = round.to_vec();
    }
    let stored = Sha256::digest(mac(&salted, b"Client Key"));
    let server = mac(&salted, b"Server Key");
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    )
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: password "pencil", 4096 rounds.
    #[test]
    fn the_rfc_example_comes_out() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let text = verifier_with("pencil", &salt, 4096);
        assert_eq!(
            text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert!(is_verifier(&text));
    }
}
