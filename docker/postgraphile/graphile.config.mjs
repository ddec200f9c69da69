// PostGraphile 5 for the GraphQL API of banking_rest (schema bank_graphql).
//
//   npm ci && DATABASE_URL=postgresql://bank_authenticator@/bank?host=/var/run/postgresql npm start
//
// Environment: DATABASE_URL, as role bank_authenticator; HOST (127.0.0.1) and PORT (5000) to listen on;
// ANONYMOUS_ROLE (bank_anonymous). Put a server with TLS before it, as for the REST API.
//
// A request is somebody's as in the REST API: the token is checked by the database, which alone has the keys, and the
// settings are those that PostgREST makes: the role, request.jwt.claims, request.headers.

import introspection from "pg-introspection";
import pg from "pg";
import { SafeError } from "postgraphile/grafast";
import { GraphQLError } from "postgraphile/graphql";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  application_name: "PostGraphile",
  max: 10,
  connectionTimeoutMillis: 5000,
});
pool.on("error", (error) => console.error(`idle connection: ${error.message}`));

// PostGraphile leaves the objects of extensions out of its introspection. With them in it they are still hidden, one by
// one, but for those whose smart comments have a behavior: the functions of bank_graphql.
const { parseIntrospectionResults } = introspection;
introspection.parseIntrospectionResults = (results) => parseIntrospectionResults(results, true);

// Lists are called by what is in them.
const NamesPlugin = {
  name: "BankingNamesPlugin",
  version: "0.1.0",
  inflection: {
    replace: {
      listField(_previous, _options, baseName) {
        return baseName;
      },
    },
  },
};

// SQLSTATEs that a client has to know, by the names that the REST API has for them.
function codeOf(sqlstate) {
  if (/^BK\d{3}$/.test(sqlstate)) return sqlstate;
  if (sqlstate === "42501") return "forbidden";
  if (/^22/.test(sqlstate)) return "invalid_parameter";
  return undefined;
}

// What a client is told of an error: a refusal with its code; of what went wrong inside, nothing.
function maskError(error) {
  const cause = error.originalError;

  if (!cause || cause instanceof GraphQLError || cause instanceof SafeError) return error;
  const code = codeOf(String(cause.code ?? "")) ?? "unavailable";
  const { nodes, source, positions, path } = error;
  const options = { nodes, source, positions, path };

  if (code === "unavailable") {
    console.error(cause);
    return new GraphQLError("Service unavailable", { ...options, extensions: { code } });
  }
  if (code === "forbidden") return new GraphQLError("Forbidden", { ...options, extensions: { code } });
  return new GraphQLError(cause.message, {
    ...options,
    extensions: {
      code,
      detail: cause.detail?.replace(/\bapi:[0-9a-f-]{36}:/, "") || undefined,
      hint: cause.hint || undefined,
    },
  });
}

// Who is asking: the claims of the token.
async function claimsOf(authorization) {
  if (authorization === undefined) return { role: process.env.ANONYMOUS_ROLE ?? "bank_anonymous" };
  const token = /^bearer +(\S+)$/i.exec(authorization)?.[1] ?? null;
  const { rows } = await pool
    .query("SELECT claims, fault FROM bank_rest.verify_token($1)", [token])
    .catch((error) => {
      console.error(error);
      throw new SafeError("Service unavailable", { code: "unavailable", statusCode: 503 });
    });

  if (rows[0].fault !== null) {
    throw new SafeError("Unauthorized", { code: "invalid_token", detail: rows[0].fault, statusCode: 401 });
  }
  return rows[0].claims;
}

// Looked up before anything of the request is carried out: here an error has a status.
const identities = new WeakMap();
const IdentityPlugin = {
  name: "BankingIdentityPlugin",
  version: "0.1.0",
  grafserv: {
    middleware: {
      async processGraphQLRequestBody(next, { request }) {
        identities.set(request, await claimsOf(request.getHeader("authorization")));
        return next();
      },
    },
  },
};

function context({ http }) {
  const claims = identities.get(http);
  const traceparent = http.getHeader("traceparent");

  return {
    pgSettings: {
      role: claims.role,
      "request.jwt.claims": JSON.stringify(claims),
      "request.headers": JSON.stringify(traceparent === undefined ? {} : { traceparent }),
      "request.method": "POST",
      "request.path": "/graphql",
    },
  };
}

export default {
  extends: [PostGraphileAmberPreset],
  plugins: [NamesPlugin, IdentityPlugin],
  disablePlugins: ["NodePlugin"],
  pgServices: [makePgService({ pool, schemas: ["bank_graphql"] })],
  grafast: { context },
  grafserv: {
    host: process.env.HOST ?? "127.0.0.1",
    port: Number(process.env.PORT ?? 5000),
    graphiql: false,
    watch: false,
    websockets: false,
    maxRequestLength: 100_000,
    maskError,
  },
};
