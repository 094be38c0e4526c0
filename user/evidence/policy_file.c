// SPDX-License-Identifier: Apache-2.0
#include "policy_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "identity/quote_tdx.h"
#include "policy/yaml.h"

#define DAY_S          INT64_C(86400)
#define GRACE_DAYS_MAX 3650
#define STALE_DAYS_MAX 30

struct parse {
	const struct yaml_doc *doc;
	struct diags *d;
	struct id_evidence_policy *p;
};

typedef void item_fn(struct parse *p, const struct yaml_node *item);

/* The map under `key`, with known keys only; NULL: absent, or refused. */
static const struct yaml_node *section(struct parse *p, const char *key, const char *const *known)
{
	const struct yaml_node *root = yaml_root(p->doc);
	const struct yaml_node *node = yaml_get(root, key) ? yaml_need(p->doc, root, key, YAML_MAP, p->d) : NULL;

	return node && yaml_known_keys(p->doc, node, known, p->d) ? node : NULL;
}

/* Each item of a list that must not be empty: an empty expectation would read as "any" or as "none". */
static void each(struct parse *p, const struct yaml_node *map, const char *key, size_t max, item_fn *item)
{
	const struct yaml_node *list;

	if (!yaml_get(map, key))
		return;
	list = yaml_need(p->doc, map, key, YAML_LIST, p->d);
	if (!list)
		return;
	if (!list->n || list->n > max) {
		yaml_error(p->doc, list, p->d, "has %zu entries, needs 1 to %zu", list->n, max);
		return;
	}
	for (size_t i = 0; i < list->n; i++)
		item(p, list->child[i]);
}

static bool hex_of(struct parse *p, const struct yaml_node *node, uint8_t *dst, size_t len)
{
	const char *text = yaml_str(p->doc, node, p->d);

	if (text && !hex_parse(dst, len, text))
		yaml_error(p->doc, node, p->d, "needs %zu hex digits, found '%.100s'", 2 * len, text);
	return text && hex_parse(dst, len, text);
}

/* --- tcb --- */

static enum id_tcb_status status_of(struct parse *p, const struct yaml_node *node)
{
	const char *text = yaml_str(p->doc, node, p->d);

	for (enum id_tcb_status s = ID_TCB_UP_TO_DATE; text && s < ID_TCB_STATUS_COUNT; s++) {
		if (strcmp(text, id_tcb_status_name(s)) != 0)
			continue;
		if (s != ID_TCB_REVOKED && s != ID_TCB_NOT_SUPPORTED)
			return s;
		yaml_error(p->doc, node, p->d, "%s is never accepted", text);
		return ID_TCB_NONE;
	}
	if (text)
		yaml_error(p->doc, node, p->d, "'%.100s' is no TCB status", text);
	return ID_TCB_NONE;
}

/* "OutOfDate", or { status: OutOfDate, grace_days: 30 } */
static void read_accepted(struct parse *p, const struct yaml_node *item)
{
	static const char *const known[] = { "status", "grace_days", NULL };
	const struct yaml_node *name = item, *days = NULL;
	enum id_tcb_status s;
	uint64_t n = 0;

	if (item->kind == YAML_MAP) {
		if (!yaml_known_keys(p->doc, item, known, p->d))
			return;
		name = yaml_need(p->doc, item, "status", YAML_SCALAR, p->d);
		days = yaml_get(item, "grace_days");
	}
	s = name ? status_of(p, name) : ID_TCB_NONE;
	if (s == ID_TCB_NONE || (days && !yaml_uint(p->doc, days, GRACE_DAYS_MAX, &n, p->d)))
		return;
	if (p->p->status[s].is_accepted)
		yaml_error(p->doc, item, p->d, "%s is there already", id_tcb_status_name(s));
	p->p->status[s].is_accepted = true;
	p->p->status[s].has_grace = days != NULL;
	p->p->status[s].grace_s = (int64_t)n * DAY_S;
}

static void read_advisory(struct parse *p, const struct yaml_node *item)
{
	const char *text = yaml_str(p->doc, item, p->d);

	if (text && strlen(text) >= ID_ADVISORY_LEN)
		yaml_error(p->doc, item, p->d, "is longer than %d bytes", ID_ADVISORY_LEN - 1);
	else if (text)
		strcpy(p->p->advisory[p->p->n_advisories++], text);
}

static void read_advisories(struct parse *p, const struct yaml_node *tcb)
{
	const struct yaml_node *node = yaml_get(tcb, "advisories");

	if (node && node->kind == YAML_SCALAR && node->text && strcmp(node->text, "any") == 0)
		p->p->any_advisory = true;
	else
		each(p, tcb, "advisories", ID_ADVISORIES_MAX, read_advisory);
}

static void read_date(struct parse *p, const struct yaml_node *node)
{
	const char *text = yaml_str(p->doc, node, p->d), *end;
	struct tm tm = { 0 }, same;

	if (!text)
		return;
	end = strlen(text) == 10 ? strptime(text, "%Y-%m-%d", &tm) : NULL;
	same = tm;
	p->p->min_tcb_date = end && !*end ? timegm(&same) : 0;
	if (!end || *end || same.tm_mday != tm.tm_mday || p->p->min_tcb_date <= 0)
		yaml_error(p->doc, node, p->d, "needs a date as 2026-01-31, found '%.100s'", text);
}

static void read_tcb(struct parse *p)
{
	static const char *const known[] = { "accept", "advisories", "min_evaluation", "min_date", NULL };
	const struct yaml_node *tcb = section(p, "tcb", known);
	uint64_t n = 0;

	if (!tcb)
		return;
	if (yaml_get(tcb, "accept")) {
		p->p->status[ID_TCB_UP_TO_DATE].is_accepted = false; /* the list says all */
		each(p, tcb, "accept", ID_TCB_STATUS_COUNT, read_accepted);
	}
	read_advisories(p, tcb);
	if (yaml_get(tcb, "min_evaluation") && yaml_uint(p->doc, yaml_get(tcb, "min_evaluation"), UINT32_MAX, &n, p->d))
		p->p->min_evaluation = (uint32_t)n;
	if (yaml_get(tcb, "min_date"))
		read_date(p, yaml_get(tcb, "min_date"));
}

/* --- td --- */

static const struct {
	const char *name;
	uint64_t bit;
} attributes[] = { { "ICSSD", ID_TD_ICSSD },    { "SERVTD_EXT", ID_TD_SERVTD_EXT },
		   { "LASS", ID_TD_LASS },      { "PKS", ID_TD_PKS },
		   { "KL", ID_TD_KL },          { "TPA", ID_TD_TPA },
		   { "PERFMON", ID_TD_PERFMON } };

static void read_attribute(struct parse *p, const struct yaml_node *item)
{
	const char *text = yaml_str(p->doc, item, p->d);

	for (size_t i = 0; text && i < ARRAY_LEN(attributes); i++) {
		if (strcmp(text, attributes[i].name) == 0) {
			p->p->td_attributes |= attributes[i].bit;
			return;
		}
	}
	if (text)
		yaml_error(p->doc, item, p->d,
			   "'%.100s' is none of ICSSD, SERVTD_EXT, LASS, PKS, KL, TPA, PERFMON; others are never let "
			   "through",
			   text);
}

static void read_service_td(struct parse *p, const struct yaml_node *item)
{
	static const uint8_t none[ID_MR_LEN];
	uint8_t *mr = p->p->service_td[p->p->n_service_td];

	if (!hex_of(p, item, mr, ID_MR_LEN))
		return;
	if (memcmp(mr, none, sizeof(none)) == 0)
		yaml_error(p->doc, item, p->d, "zero is no service TD");
	else
		p->p->n_service_td++;
}

static void read_td(struct parse *p)
{
	static const char *const known[] = { "attributes", "service_tds", NULL };
	const struct yaml_node *td = section(p, "td", known);

	if (!td)
		return;
	if (yaml_get(td, "attributes")) {
		p->p->td_attributes = 0;
		each(p, td, "attributes", ARRAY_LEN(attributes), read_attribute);
	}
	each(p, td, "service_tds", ID_SERVICE_TD_MAX, read_service_td);
}

/* --- measurements, hardware --- */

static void read_pins(struct parse *p, const struct yaml_node *node, enum id_register reg)
{
	bool is_list = node->kind == YAML_LIST;
	size_t n = is_list ? node->n : 1;

	if (!n || n > ID_PINS_MAX) {
		yaml_error(p->doc, node, p->d, "has %zu values, needs 1 to %d", n, ID_PINS_MAX);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (hex_of(p, is_list ? node->child[i] : node, p->p->pin[reg].value[p->p->pin[reg].n], ID_MR_LEN))
			p->p->pin[reg].n++;
}

static void read_measurements(struct parse *p)
{
	const char *known[ID_REG_COUNT + 1] = { NULL };
	const struct yaml_node *map;

	for (enum id_register reg = 0; reg < ID_REG_COUNT; reg++)
		known[reg] = id_register_name(reg);
	map = section(p, "measurements", known);
	for (enum id_register reg = 0; map && reg < ID_REG_COUNT; reg++)
		if (yaml_get(map, known[reg]))
			read_pins(p, yaml_get(map, known[reg]), reg);
}

static void read_hardware(struct parse *p, const struct yaml_node *item)
{
	p->p->has_hardware = true;
	if (hex_of(p, item, p->p->hardware[p->p->n_hardware], ID_PPID_LEN))
		p->p->n_hardware++;
}

/* --- snp --- */

static void read_byte(struct parse *p, const struct yaml_node *map, const char *key, uint8_t *dst)
{
	const struct yaml_node *node = yaml_get(map, key);
	uint64_t n = 0;

	if (node && yaml_uint(p->doc, node, UINT8_MAX, &n, p->d))
		*dst = (uint8_t)n;
}

static void read_flag(struct parse *p, const struct yaml_node *map, const char *key, bool *dst)
{
	if (yaml_get(map, key))
		yaml_bool(p->doc, yaml_get(map, key), dst, p->d);
}

/* All parts but Turin's FMC must be said: a part left out would accept every version of it. */
static void read_min_tcb(struct parse *p, const struct yaml_node *snp)
{
	static const char *const known[] = { "boot_loader", "tee", "snp", "microcode", "fmc", NULL };
	struct id_snp_tcb *min = &p->p->snp.demand.tcb_min;
	uint8_t *const part[] = { &min->boot_loader, &min->tee, &min->snp, &min->microcode, &min->fmc };
	const struct yaml_node *map = yaml_need(p->doc, snp, "min_tcb", YAML_MAP, p->d);

	if (!map || !yaml_known_keys(p->doc, map, known, p->d))
		return;
	for (size_t i = 0; known[i]; i++)
		if (i == 4 || yaml_need(p->doc, map, known[i], YAML_SCALAR, p->d))
			read_byte(p, map, known[i], part[i]);
}

/* "1.55" */
static void read_min_abi(struct parse *p, const struct yaml_node *node)
{
	const char *text = yaml_str(p->doc, node, p->d);
	unsigned major, minor;
	int end = 0;

	if (!text)
		return;
	if (text[strspn(text, "0123456789.")] || sscanf(text, "%3u.%3u%n", &major, &minor, &end) != 2 || text[end] ||
	    major > UINT8_MAX || minor > UINT8_MAX) {
		yaml_error(p->doc, node, p->d, "needs a version as 1.55, found '%.100s'", text);
		return;
	}
	p->p->snp.demand.abi_major_min = (uint8_t)major;
	p->p->snp.demand.abi_minor_min = (uint8_t)minor;
}

static void read_csp_id(struct parse *p, const struct yaml_node *node)
{
	const char *text = yaml_str(p->doc, node, p->d);

	if (text && (!*text || strlen(text) >= ID_SNP_CSP_ID_MAX))
		yaml_error(p->doc, node, p->d, "needs 1 to %d bytes", ID_SNP_CSP_ID_MAX - 1);
	else if (text)
		strcpy(p->p->snp.demand.csp_id, text);
}

static void read_snp_measurement(struct parse *p, const struct yaml_node *item)
{
	if (hex_of(p, item, p->p->snp.measurement[p->p->snp.n_measurements], ID_MR_LEN))
		p->p->snp.n_measurements++;
}

static void read_host_data(struct parse *p, const struct yaml_node *item)
{
	if (hex_of(p, item, p->p->snp.host_data[p->p->snp.n_host_data], ID_SNP_HOST_DATA_LEN))
		p->p->snp.n_host_data++;
}

/* Zero is what a masked chip id looks like: on that list it would be any machine that masks. */
static void read_chip(struct parse *p, const struct yaml_node *item)
{
	static const uint8_t masked[ID_SNP_CHIP_ID_LEN];
	uint8_t *chip = p->p->snp.chip[p->p->snp.n_chips];

	if (!hex_of(p, item, chip, ID_SNP_CHIP_ID_LEN))
		return;
	if (memcmp(chip, masked, sizeof(masked)) == 0)
		yaml_error(p->doc, item, p->d, "zero is no chip id");
	else
		p->p->snp.n_chips++;
}

static void read_snp(struct parse *p)
{
	static const char *const known[] = { "min_tcb",         "max_vmpl",    "min_abi",  "smt",
					     "migration_agent", "alias_check", "crl",      "csp_id",
					     "measurements",    "host_data",   "chip_ids", NULL };
	const struct yaml_node *snp = section(p, "snp", known);
	struct id_snp_policy *demand = &p->p->snp.demand;
	bool smt = true;
	uint64_t n = 0;

	if (!snp)
		return;
	p->p->snp.is_allowed = true;
	read_min_tcb(p, snp);
	if (yaml_get(snp, "max_vmpl") && yaml_uint(p->doc, yaml_get(snp, "max_vmpl"), 3, &n, p->d))
		demand->vmpl_max = (uint32_t)n;
	if (yaml_get(snp, "min_abi"))
		read_min_abi(p, yaml_get(snp, "min_abi"));
	if (yaml_get(snp, "csp_id"))
		read_csp_id(p, yaml_get(snp, "csp_id"));
	read_flag(p, snp, "smt", &smt);
	demand->deny_smt = !smt;
	read_flag(p, snp, "migration_agent", &demand->allow_migration_agent);
	read_flag(p, snp, "alias_check", &demand->need_alias_check);
	read_flag(p, snp, "crl", &demand->need_crl);
	each(p, snp, "measurements", ID_PINS_MAX, read_snp_measurement);
	each(p, snp, "host_data", ID_PINS_MAX, read_host_data);
	each(p, snp, "chip_ids", ID_HARDWARE_MAX, read_chip);
}

static void read_collateral(struct parse *p)
{
	static const char *const known[] = { "grace_days", NULL };
	const struct yaml_node *map = section(p, "collateral", known), *days = map ? yaml_get(map, "grace_days") : NULL;
	uint64_t n;

	if (days && yaml_uint(p->doc, days, STALE_DAYS_MAX, &n, p->d))
		p->p->collateral_grace_s = (int64_t)n * DAY_S;
}

static void read_root(struct parse *p)
{
	static const char *const known[] = { "tcb",        "td",        "measurements", "hardware",
					     "collateral", "simulated", "snp",          NULL };
	const struct yaml_node *root = yaml_root(p->doc);

	if (!yaml_known_keys(p->doc, root, known, p->d))
		return;
	read_tcb(p);
	read_td(p);
	read_measurements(p);
	read_collateral(p);
	each(p, root, "hardware", ID_HARDWARE_MAX, read_hardware);
	read_snp(p);
	if (yaml_get(root, "simulated"))
		yaml_bool(p->doc, yaml_get(root, "simulated"), &p->p->allow_simulated, p->d);
}

DEFINE_CLEANUP(yaml, struct yaml_doc, yaml_free)

int evp_parse(const char *file, const char *text, size_t len, struct id_evidence_policy *policy, struct diags *d)
{
	auto_call(cleanup_yaml) struct yaml_doc *doc = NULL;
	struct id_evidence_policy made;
	struct parse p = { .d = d, .p = &made };
	size_t n_before = d->n_errors;

	if (yaml_parse_max(file, text, len, EVP_FILE_MAX, &doc, d) < 0)
		return -EINVAL;
	id_evidence_policy_strict(&made);
	p.doc = doc;
	read_root(&p);
	if (d->n_errors > n_before)
		return -EINVAL;
	*policy = made;
	return 0;
}

int evp_load(const char *path, struct id_evidence_policy *policy, struct err *e)
{
	auto_free char *text = NULL;
	auto_call(diags_fini) struct diags d = { 0 };
	size_t len;
	int ret = file_read_arg(path, EVP_FILE_MAX, &text, &len, e);

	if (ret < 0)
		return ret;
	return evp_parse(path, text, len, policy, &d) < 0 ? diags_first(&d, e) : 0;
}
