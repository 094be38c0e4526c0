// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <errno.h>
#include <string.h>

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

static int collateral_load(const struct evp_paths *paths, struct evp_files *files, struct err *e)
{
	int ret = paths->n_collateral ? id_collaterals_new(NULL, 0, &files->collaterals, e) : 0;

	for (unsigned i = 0; i < paths->n_collateral && !ret; i++) {
		auto_free char *text = NULL;
		size_t len;

		ret = file_read(paths->collateral[i], ID_BUNDLE_MAX, &text, &len, e);
		if (!ret && id_collaterals_add(files->collaterals, text, len, e) < 0)
			ret = err_wrap(e, "%.150s", paths->collateral[i]);
	}
	return ret;
}

int evp_files_load(const struct evp_paths *paths, struct evp_files *files, struct err *e)
{
	size_t len = 0;
	int ret = evp_load(paths->policy, &files->policy, e);

	if (!ret && paths->simulated_roots[0])
		ret = file_read(paths->simulated_roots, ROOTS_MAX, &files->roots, &len, e);
	if (!ret)
		ret = collateral_load(paths, files, e);
	if (ret < 0)
		return ret;
	files->trust = (struct id_trust){ .allow_simulated = files->policy.allow_simulated,
					  .simulated_roots = files->roots,
					  .simulated_roots_len = len,
					  .collaterals = files->collaterals,
					  .policy = &files->policy };
	return 0;
}

void evp_files_fini(struct evp_files *files)
{
	id_collaterals_free(files->collaterals);
	free(files->roots);
	*files = (struct evp_files){ 0 };
}
