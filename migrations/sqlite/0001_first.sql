-- For applications: organizations, users, groups, memberships. Ids are UUIDs in lower case, times are UTC: what another
-- program writes here is refused where Rollcall could not read it.

CREATE TABLE organizations (
    id text PRIMARY KEY NOT NULL CHECK (length(id) = 36 AND id NOT GLOB '*[^0-9a-f-]*'),
    name text NOT NULL,
    kind text NOT NULL,
    source text,
    external_id text,
    followed integer NOT NULL DEFAULT 1 CHECK (followed IN (0, 1)),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
    attributes text NOT NULL DEFAULT '{}' CHECK (json_valid(attributes) AND json_type(attributes) = 'object'),
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) CHECK (datetime(created_at) IS NOT NULL),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) CHECK (datetime(updated_at) IS NOT NULL),
    CHECK ((source IS NULL) = (external_id IS NULL)),
    CHECK (kind <> 'self' OR source IS NULL)
) STRICT;
CREATE UNIQUE INDEX organizations_external_id ON organizations (source, external_id);
CREATE INDEX organizations_name ON organizations (lower(name), id);
CREATE UNIQUE INDEX organizations_self ON organizations (kind) WHERE kind = 'self';

CREATE TABLE users (
    id text PRIMARY KEY NOT NULL CHECK (length(id) = 36 AND id NOT GLOB '*[^0-9a-f-]*'),
    kind text NOT NULL DEFAULT 'employee',
    email text NOT NULL,
    first_name text,
    last_name text,
    phone text,
    title text,
    organization_id text REFERENCES organizations (id),
    license text,
    billable integer CHECK (billable IN (0, 1)),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    disabled_by text CHECK (disabled_by IN ('directory', 'admin')),
    attributes text NOT NULL DEFAULT '{}' CHECK (json_valid(attributes) AND json_type(attributes) = 'object'),
    session_epoch integer NOT NULL DEFAULT 0,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) CHECK (datetime(created_at) IS NOT NULL),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) CHECK (datetime(updated_at) IS NOT NULL)
) STRICT;
-- lower() folds ASCII letters alone, as the program's comparison key does.
CREATE UNIQUE INDEX users_email ON users (lower(email));
CREATE INDEX users_organization ON users (organization_id);
-- Lists in the order of addresses. Few users are disabled, and no directory makes an employee: filling them costs little.
CREATE INDEX users_disabled ON users (lower(email)) WHERE status = 'disabled';
CREATE INDEX users_employees ON users (lower(email)) WHERE kind = 'employee';

CREATE TABLE groups (
    id text PRIMARY KEY NOT NULL CHECK (length(id) = 36 AND id NOT GLOB '*[^0-9a-f-]*'),
    kind text NOT NULL,
    name text NOT NULL,
    UNIQUE (kind, name)
) STRICT;

CREATE TABLE memberships (
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    group_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    origin text NOT NULL DEFAULT 'local' CHECK (origin IN ('directory', 'local')),
    PRIMARY KEY (user_id, group_id)
) STRICT;
CREATE INDEX memberships_group ON memberships (group_id);

-- Bookkeeping.

-- What the directory said of an entry when we last applied it, and the user that it is linked to. There is no foreign
-- key to users on purpose: a link whose user is gone says that the user was deleted here and is not to come back.
CREATE TABLE records (
    source text NOT NULL,
    external_id text NOT NULL,
    user_id text NOT NULL,
    organization_id text,
    digest text NOT NULL,
    -- One bit a column of `users` that the mapping stated, in the order of domain::field::Field::COLUMNS.
    covered integer NOT NULL,
    email text,
    first_name text,
    last_name text,
    phone text,
    title text,
    kind text,
    license text,
    billable integer CHECK (billable IN (0, 1)),
    status text NOT NULL,
    -- Names in byte order, one a line.
    roles text NOT NULL DEFAULT '',
    attributes text NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
    absent integer NOT NULL DEFAULT 0 CHECK (absent IN (0, 1)),
    run_id text NOT NULL,
    created_at text NOT NULL,
    changed_at text NOT NULL,
    PRIMARY KEY (source, external_id)
) STRICT;
CREATE UNIQUE INDEX records_user ON records (user_id);
CREATE INDEX records_organization ON records (organization_id);

CREATE TABLE runs (
    id text PRIMARY KEY NOT NULL,
    source text NOT NULL,
    organization text,
    external_id text,
    organization_id text,
    user_id text,
    mode text NOT NULL,
    dry_run integer NOT NULL CHECK (dry_run IN (0, 1)),
    actor text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'planned', 'held', 'applied', 'rejected', 'incomplete', 'failed')),
    first_run integer NOT NULL DEFAULT 0 CHECK (first_run IN (0, 1)),
    epoch integer NOT NULL,
    queued_at text,
    -- While it waits: since when.
    started_at text NOT NULL,
    finished_at text,
    listing text,
    plan_hash text,
    counts text,
    holds text,
    error text,
    answered_by text,
    answered_at text
) STRICT;
CREATE INDEX runs_source ON runs (source, id);
CREATE INDEX runs_applied ON runs (source, organization, id) WHERE state = 'applied';
CREATE INDEX runs_state ON runs (state) WHERE state IN ('queued', 'running', 'held');
-- Asked again while it is waiting, it is the same run.
CREATE UNIQUE INDEX runs_queued ON runs (source, coalesce(organization, ''), coalesce(external_id, ''), dry_run)
    WHERE state = 'queued';

-- The plan of a run; once it is applied, the history of its users. It is written while the directory is read, so it has
-- no foreign key: who deletes a run deletes its plan.
CREATE TABLE changes (
    run_id text NOT NULL,
    -- Names the row. The plan is read in the order of organization and external id.
    position integer NOT NULL,
    action text NOT NULL CHECK (action IN ('create', 'update', 'disable', 'enable', 'delete', 'remember')),
    reason text,
    external_id text NOT NULL,
    -- Empty where there is none.
    organization text NOT NULL,
    user_id text NOT NULL,
    -- The address that the user has before; null for a creation, which has `email`.
    address text,
    drift integer NOT NULL DEFAULT 0 CHECK (drift IN (0, 1)),
    -- For what is not a creation: field → before, after, directory_before, drift.
    fields text,
    -- The keys of users.attributes that change.
    attribute_patch text,
    record_digest text,
    -- What the directory said; all null where the entry is absent. As in `records`.
    digest text,
    covered integer NOT NULL,
    email text,
    first_name text,
    last_name text,
    phone text,
    title text,
    kind text,
    license text,
    billable integer CHECK (billable IN (0, 1)),
    status text,
    roles text,
    attributes text,
    -- For a creation: the bits of those columns that the new user gets, and of its attributes those that it gets where
    -- these are not all.
    given integer NOT NULL DEFAULT 0,
    given_attributes text,
    PRIMARY KEY (run_id, position)
) STRICT;
CREATE INDEX changes_order ON changes (run_id, organization, external_id);
CREATE INDEX changes_user ON changes (user_id);
CREATE INDEX changes_drift ON changes (run_id, position) WHERE drift;

-- Organizations that a run found new or changed.
CREATE TABLE run_organizations (
    run_id text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    external_id text NOT NULL,
    organization_id text NOT NULL,
    is_new integer NOT NULL CHECK (is_new IN (0, 1)),
    name text NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    followed integer NOT NULL CHECK (followed IN (0, 1)),
    attributes text NOT NULL CHECK (json_valid(attributes)),
    PRIMARY KEY (run_id, external_id)
) STRICT;

CREATE TABLE quarantine (
    source text NOT NULL,
    external_id text NOT NULL,
    organization text,
    code text NOT NULL,
    detail text NOT NULL,
    first_seen_at text NOT NULL,
    last_seen_at text NOT NULL,
    times integer NOT NULL,
    run_id text NOT NULL,
    PRIMARY KEY (source, external_id)
) STRICT;

CREATE TABLE audit (
    id text PRIMARY KEY NOT NULL,
    at text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    source text,
    run_id text,
    user_id text,
    organization_id text,
    details text NOT NULL
) STRICT;
CREATE INDEX audit_user ON audit (user_id, id);
CREATE INDEX audit_organization ON audit (organization_id, id) WHERE organization_id IS NOT NULL;
CREATE INDEX audit_source ON audit (source, id) WHERE source IS NOT NULL;

CREATE TABLE outbox (
    id text PRIMARY KEY NOT NULL,
    created_at text NOT NULL,
    kind text NOT NULL,
    payload text NOT NULL,
    delivered_at text
) STRICT;

CREATE TABLE leases (
    source text PRIMARY KEY NOT NULL,
    epoch integer NOT NULL,
    holder text NOT NULL,
    process text NOT NULL,
    expires_at text NOT NULL
) STRICT;

CREATE TABLE source_state (
    source text PRIMARY KEY NOT NULL,
    complete_at text,
    as_of text,
    run_id text
) STRICT;

-- When a source is due. Apart from what a run writes in its one transaction: a source falls due while its run is under
-- way, and a run must not be decided again because of that.
CREATE TABLE schedules (
    source text PRIMARY KEY NOT NULL,
    -- The schedule and zone that `due_at` was worked out from.
    schedule text,
    due_at text,
    paused_at text,
    paused_by text,
    paused_reason text
) STRICT;

-- API tokens. What is kept of each is its SHA-256.
CREATE TABLE tokens (
    id text PRIMARY KEY NOT NULL,
    name text NOT NULL,
    hash text NOT NULL UNIQUE,
    prefix text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'sync', 'admin')),
    created_at text NOT NULL,
    created_by text NOT NULL,
    expires_at text,
    revoked_at text,
    last_used_at text
) STRICT;
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;
