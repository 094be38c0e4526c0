// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "identity/collateral.h"
#include "policy_file.h"

#define ROOTS_MAX (64 * 1024)

/* --- the section --- */

static void path_take(const struct yaml_doc *doc, const struct yaml_node *at, char path[PATH_MAX], struct diags *d)
{
	const char *text = yaml_str(doc, at, d);

	if (!text)
		return;
	if (text[0] != '/' || strlen(text) >= PATH_MAX)
		yaml_error(doc, at, d, "needs a path from the root, found '%.100s'", text);
	else
		strcpy(path, text);
}

void evp_paths_read(const struct yaml_doc *doc, struct evp_paths *paths, struct diags *d)
{
	static const char *const known[] = { "policy", "collateral", "simulated_roots", NULL };
	const struct yaml_node *map = yaml_need(doc, yaml_root(doc), "evidence", YAML_MAP, d), *node, *list;

	if (!map || !yaml_known_keys(doc, map, known, d))
		return;
	node = yaml_need(doc, map, "policy", YAML_SCALAR, d);
	if (node)
		path_take(doc, node, paths->policy, d);
	node = yaml_get(map, "simulated_roots");
	if (node)
		path_take(doc, node, paths->simulated_roots, d);
	list = yaml_get(map, "collateral") ? yaml_need(doc, map, "collateral", YAML_LIST, d) : NULL;
	if (list && list->n > EVP_COLLATERAL_MAX)
		yaml_error(doc, list, d, "has %zu entries, the limit is %d", list->n, EVP_COLLATERAL_MAX);
	for (size_t i = 0; list && i < list->n && i < EVP_COLLATERAL_MAX; i++)
		path_take(doc, list->child[i], paths->collateral[paths->n_collateral++], d);
}

/* --- the files --- */

int evp_collateral_load(const struct evp_paths *paths, struct id_collaterals **set, struct err *e)
{
	struct id_collaterals *made = NULL;
	int ret = paths->n_collateral ? id_collaterals_new(NULL, 0, &made, e) : 0;

	for (unsigned i = 0; i < paths->n_collateral && !ret; i++) {
		auto_free char *text = NULL;
		size_t len;

		ret = file_read(paths->collateral[i], ID_BUNDLE_MAX, &text, &len, e);
		if (!ret && id_collaterals_add(made, text, len, e) < 0)
			ret = err_wrap(e, "%.150s", paths->collateral[i]);
	}
	if (ret < 0)
		id_collaterals_free(made);
	else
		*set = made;
	return ret;
}

uint64_t evp_collateral_look(const struct evp_paths *paths)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < paths->n_collateral; i++) {
		struct stat st;

		if (stat(paths->collateral[i], &st) == 0)
			sum = 31 * sum + (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec +
			      (uint64_t)st.st_size + (uint64_t)st.st_ino;
	}
	return sum;
}

int evp_files_load(const struct evp_paths *paths, struct evp_files *files, struct err *e)
{
	int ret = paths->policy[0] ? evp_load(paths->policy, &files->policy, e) : 0;

	if (!paths->policy[0]) {
		id_evidence_policy_strict(&files->policy);
		files->policy.allow_simulated = paths->simulated_roots[0];
	}
	if (!ret && paths->simulated_roots[0])
		ret = file_read(paths->simulated_roots, ROOTS_MAX, &files->roots, &files->roots_len, e);
	return ret ? ret : evp_collateral_load(paths, &files->collaterals, e);
}

struct id_trust evp_trust_now(const struct evp_files *files)
{
	return (struct id_trust){ .now = time(NULL),
				  .allow_simulated = files->policy.allow_simulated,
				  .simulated_roots = files->roots,
				  .simulated_roots_len = files->roots_len,
				  .collaterals = files->collaterals,
				  .policy = &files->policy };
}

void evp_files_fini(struct evp_files *files)
{
	id_collaterals_free(files->collaterals);
	free(files->roots);
	*files = (struct evp_files){ 0 };
}
