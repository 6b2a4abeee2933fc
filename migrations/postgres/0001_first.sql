-- For applications: organizations, users, groups, memberships.

CREATE TABLE organizations (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    kind text NOT NULL,
    source text COLLATE "C",
    external_id text COLLATE "C",
    followed boolean NOT NULL DEFAULT true,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
    attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((source IS NULL) = (external_id IS NULL)),
    CHECK (kind <> 'self' OR source IS NULL)
);
CREATE UNIQUE INDEX organizations_external_id ON organizations (source, external_id);
CREATE INDEX organizations_name ON organizations ((lower(name) COLLATE "C"), id);
CREATE UNIQUE INDEX organizations_self ON organizations (kind) WHERE kind = 'self';

CREATE TABLE users (
    id uuid PRIMARY KEY,
    kind text NOT NULL DEFAULT 'employee',
    email text COLLATE "C" NOT NULL,
    first_name text,
    last_name text,
    phone text,
    title text,
    organization_id uuid REFERENCES organizations (id),
    license text,
    billable boolean,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    disabled_by text CHECK (disabled_by IN ('directory', 'admin')),
    attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    session_epoch bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- The column is in the C collation: lower() folds ASCII letters alone, as the program's comparison key does.
CREATE UNIQUE INDEX users_email ON users (lower(email));
CREATE INDEX users_organization ON users (organization_id);
-- Lists in the order of addresses. Few users are disabled, and no directory makes an employee: filling them costs little.
CREATE INDEX users_disabled ON users (lower(email)) WHERE status = 'disabled';
CREATE INDEX users_employees ON users (lower(email)) WHERE kind = 'employee';

CREATE TABLE groups (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    name text COLLATE "C" NOT NULL,
    UNIQUE (kind, name)
);

-- A membership is of a user and a group that are there, and goes with either. The triggers below see to it as foreign keys
-- would, but once a statement: foreign keys, which look at one row at a time, took longer than writing all users of a
-- first load.
CREATE TABLE memberships (
    user_id uuid NOT NULL,
    group_id uuid NOT NULL,
    origin text NOT NULL DEFAULT 'local' CHECK (origin IN ('directory', 'local')),
    PRIMARY KEY (user_id, group_id)
);
CREATE INDEX memberships_group ON memberships (group_id);

-- Rows of this transaction are nobody else's to delete; all others are locked until it ends, as a foreign key locks them.
-- Each statement is planned anew (EXECUTE): a plan for many rows would read all users for one.
CREATE FUNCTION memberships_refer() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    wanted bigint;
    own bigint;
    others bigint;
BEGIN
    EXECUTE 'SELECT count(*) FROM (SELECT DISTINCT user_id FROM written) w' INTO wanted;
    EXECUTE 'SELECT count(*) FROM users WHERE id IN (SELECT user_id FROM written)
        AND xmin = pg_current_xact_id()::xid' INTO own;
    IF own < wanted THEN
        EXECUTE 'SELECT 1 FROM users WHERE id IN (SELECT user_id FROM written)
            AND xmin <> pg_current_xact_id()::xid FOR KEY SHARE';
        GET DIAGNOSTICS others = ROW_COUNT;
        IF own + others < wanted THEN
            RAISE foreign_key_violation USING MESSAGE = 'a membership is of a user who is not there';
        END IF;
    END IF;
    EXECUTE 'SELECT count(*) FROM (SELECT DISTINCT group_id FROM written) w' INTO wanted;
    EXECUTE 'SELECT 1 FROM groups WHERE id IN (SELECT group_id FROM written) FOR KEY SHARE';
    GET DIAGNOSTICS others = ROW_COUNT;
    IF others < wanted THEN
        RAISE foreign_key_violation USING MESSAGE = 'a membership is of a group that is not there';
    END IF;
    RETURN NULL;
END $$;
-- A sync that grants roles to users whom it has just created says so, and is not looked at.
CREATE TRIGGER memberships_inserted AFTER INSERT ON memberships
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT
    WHEN (current_setting('rollcall.memberships', true) IS DISTINCT FROM 'of created users')
    EXECUTE FUNCTION memberships_refer();
CREATE TRIGGER memberships_updated AFTER UPDATE ON memberships
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION memberships_refer();

CREATE FUNCTION memberships_go() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM memberships;
    ELSIF TG_TABLE_NAME = 'users' THEN
        EXECUTE 'DELETE FROM memberships m USING gone g WHERE m.user_id = g.id';
    ELSE
        EXECUTE 'DELETE FROM memberships m USING gone g WHERE m.group_id = g.id';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER users_deleted AFTER DELETE ON users
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION memberships_go();
CREATE TRIGGER groups_deleted AFTER DELETE ON groups
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION memberships_go();
CREATE TRIGGER users_truncated AFTER TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION memberships_go();
CREATE TRIGGER groups_truncated AFTER TRUNCATE ON groups FOR EACH STATEMENT EXECUTE FUNCTION memberships_go();

CREATE FUNCTION id_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING MESSAGE = 'the id of a user or a group stays as it was given';
END $$;
CREATE TRIGGER users_id BEFORE UPDATE OF id ON users
    FOR EACH ROW WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION id_stays();
CREATE TRIGGER groups_id BEFORE UPDATE OF id ON groups
    FOR EACH ROW WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION id_stays();

-- Bookkeeping.

-- What the directory said of an entry when we last applied it, and the user that it is linked to. There is no foreign
-- key to users on purpose: a link whose user is gone says that the user was deleted here and is not to come back.
CREATE TABLE records (
    source text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL,
    organization_id uuid,
    digest text COLLATE "C" NOT NULL,
    -- One bit a column of `users` that the mapping stated, in the order of domain::field::Field::COLUMNS.
    covered bigint NOT NULL,
    email text COLLATE "C",
    first_name text,
    last_name text,
    phone text,
    title text,
    kind text,
    license text,
    billable boolean,
    status text NOT NULL,
    -- Names in byte order, one a line.
    roles text NOT NULL DEFAULT '',
    attributes jsonb NOT NULL DEFAULT '{}',
    absent boolean NOT NULL DEFAULT false,
    run_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (source, external_id)
);
CREATE UNIQUE INDEX records_user ON records (user_id);
CREATE INDEX records_organization ON records (organization_id);

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    organization text COLLATE "C",
    external_id text COLLATE "C",
    organization_id uuid,
    user_id uuid,
    mode text NOT NULL,
    dry_run boolean NOT NULL,
    actor text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'planned', 'held', 'applied', 'rejected', 'incomplete', 'failed')),
    first_run boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL,
    queued_at timestamptz,
    -- While it waits: since when.
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    listing jsonb,
    plan_hash text,
    counts jsonb,
    holds jsonb,
    error jsonb,
    answered_by text,
    answered_at timestamptz
);
CREATE INDEX runs_source ON runs (source, id);
CREATE INDEX runs_applied ON runs (source, organization, id) WHERE state = 'applied';
CREATE INDEX runs_state ON runs (state) WHERE state IN ('queued', 'running', 'held');
-- Asked again while it is waiting, it is the same run.
CREATE UNIQUE INDEX runs_queued ON runs (source, coalesce(organization, ''), coalesce(external_id, ''), dry_run)
    WHERE state = 'queued';

-- The plan of a run; once it is applied, the history of its users. It is written while the directory is read, so it has
-- no foreign key: who deletes a run deletes its plan.
CREATE TABLE changes (
    run_id uuid NOT NULL,
    -- Names the row. The plan is read in the order of organization and external id.
    position bigint NOT NULL,
    action text NOT NULL CHECK (action IN ('create', 'update', 'disable', 'enable', 'delete', 'remember')),
    reason text,
    external_id text COLLATE "C" NOT NULL,
    -- Empty where there is none.
    organization text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL,
    -- The address that the user has before; null for a creation, which has `email`.
    address text,
    drift boolean NOT NULL DEFAULT false,
    -- For what is not a creation: field → before, after, directory_before, drift.
    fields jsonb,
    -- The keys of users.attributes that change.
    attribute_patch jsonb,
    record_digest text,
    -- What the directory said; all null where the entry is absent. As in `records`.
    digest text,
    covered bigint NOT NULL,
    email text COLLATE "C",
    first_name text,
    last_name text,
    phone text,
    title text,
    kind text,
    license text,
    billable boolean,
    status text,
    roles text COLLATE "C",
    attributes jsonb,
    -- For a creation: the bits of those columns that the new user gets, and of its attributes those that it gets where
    -- these are not all.
    given bigint NOT NULL DEFAULT 0,
    given_attributes jsonb,
    PRIMARY KEY (run_id, position)
);
CREATE INDEX changes_order ON changes (run_id, organization, external_id);
CREATE INDEX changes_user ON changes (user_id);
CREATE INDEX changes_drift ON changes (run_id, position) WHERE drift;

-- Organizations that a run found new or changed.
CREATE TABLE run_organizations (
    run_id uuid NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    external_id text COLLATE "C" NOT NULL,
    organization_id uuid NOT NULL,
    is_new boolean NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    followed boolean NOT NULL,
    attributes jsonb NOT NULL,
    PRIMARY KEY (run_id, external_id)
);

CREATE TABLE quarantine (
    source text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    organization text COLLATE "C",
    code text NOT NULL,
    detail text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    times bigint NOT NULL,
    run_id uuid NOT NULL,
    PRIMARY KEY (source, external_id)
);

CREATE TABLE audit (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    source text,
    run_id uuid,
    user_id uuid,
    organization_id uuid,
    details jsonb NOT NULL
);
CREATE INDEX audit_user ON audit (user_id, id);
CREATE INDEX audit_organization ON audit (organization_id, id) WHERE organization_id IS NOT NULL;
CREATE INDEX audit_source ON audit (source, id) WHERE source IS NOT NULL;

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    delivered_at timestamptz
);

CREATE TABLE leases (
    source text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    process text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE source_state (
    source text COLLATE "C" PRIMARY KEY,
    complete_at timestamptz,
    as_of text,
    run_id uuid
);

-- When a source is due. Apart from what a run writes in its one transaction: a source falls due while its run is under
-- way, and a run must not be decided again because of that.
CREATE TABLE schedules (
    source text COLLATE "C" PRIMARY KEY,
    -- The schedule and zone that `due_at` was worked out from.
    schedule text,
    due_at timestamptz,
    paused_at timestamptz,
    paused_by text,
    paused_reason text
);

-- API tokens. What is kept of each is its SHA-256.
CREATE TABLE tokens (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    hash text NOT NULL UNIQUE,
    prefix text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'sync', 'admin')),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;
