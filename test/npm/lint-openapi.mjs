// lint-openapi FILE: what Redocly's recommended rules say of an OpenAPI document; exit status 1 if they find anything.
//
// node test/npm/lint-openapi.mjs rest/openapi.json, with the packages of package-lock.json in build/npm/tests
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/build/npm/tests/`);
const { createConfig, lint } = require("@redocly/openapi-core");

const config = await createConfig({
  extends: ["recommended-strict"],
  rules: { "operation-4xx-response": "error", "no-invalid-media-type-examples": "error" },
});
const problems = await lint({ ref: process.argv[2], config });
for (const { ruleId, message, location } of problems) {
  console.log(`${process.argv[2]}${location[0]?.pointer ?? ""}: ${message} (${ruleId})`);
}
process.exit(problems.length > 0 ? 1 : 0);
