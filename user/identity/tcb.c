// SPDX-License-Identifier: Apache-2.0
#include "tcb.h"

#include "base/cleanup.h"

static const char *const status_name[] = {
	[ID_TCB_NONE] = "-",
	[ID_TCB_UP_TO_DATE] = "UpToDate",
	[ID_TCB_SW_HARDENING] = "SWHardeningNeeded",
	[ID_TCB_CONFIGURATION] = "ConfigurationNeeded",
	[ID_TCB_CONFIGURATION_SW] = "ConfigurationAndSWHardeningNeeded",
	[ID_TCB_OUT_OF_DATE] = "OutOfDate",
	[ID_TCB_OUT_OF_DATE_CONFIGURATION] = "OutOfDateConfigurationNeeded",
	[ID_TCB_REVOKED] = "Revoked",
	[ID_TCB_RELAUNCH] = "TDRelaunchAdvised",
	[ID_TCB_RELAUNCH_CONFIGURATION] = "TDRelaunchAdvisedConfigurationNeeded",
	[ID_TCB_NOT_SUPPORTED] = "NotSupported",
};

_Static_assert(ARRAY_LEN(status_name) == ID_TCB_STATUS_COUNT, "one name per status");

const char *id_tcb_status_name(enum id_tcb_status status)
{
	return status < ID_TCB_STATUS_COUNT ? status_name[status] : "unknown";
}

const struct id_tcb_level *id_tcb_svn_level(const struct id_tcb_levels *levels, uint16_t svn)
{
	for (size_t i = 0; i < levels->n; i++)
		if (levels->at[i].svn <= svn)
			return &levels->at[i];
	return NULL;
}

static bool reaches(const uint8_t svn[ID_TCB_COMPONENTS], const uint8_t needed[ID_TCB_COMPONENTS], size_t from)
{
	for (size_t i = from; i < ID_TCB_COMPONENTS; i++)
		if (svn[i] < needed[i])
			return false;
	return true;
}

const struct id_tcb_level *id_tcb_platform_level(const struct id_tcb_levels *levels, const struct id_pck *pck,
						 const uint8_t tee_tcb_svn[16])
{
	/* minor and major version of the TDX module: versions of different majors have no order */
	size_t from = tee_tcb_svn[1] ? 2 : 0;

	for (size_t i = 0; i < levels->n; i++) {
		const struct id_tcb_level *l = &levels->at[i];

		if (reaches(pck->svn, l->sgx, 0) && pck->pce_svn >= l->svn && reaches(tee_tcb_svn, l->tdx, from))
			return l;
	}
	return NULL;
}

const struct id_tdx_module *id_tcb_module(const struct id_tcb_info *info, uint8_t major)
{
	for (size_t i = 0; i < info->n_modules; i++)
		if (info->module[i].major == major)
			return &info->module[i];
	return NULL;
}

enum id_tcb_status id_tcb_converge(enum id_tcb_status platform, enum id_tcb_status part)
{
	if (platform == ID_TCB_NOT_SUPPORTED || part == ID_TCB_NOT_SUPPORTED)
		return ID_TCB_NOT_SUPPORTED;
	if (platform == ID_TCB_REVOKED || part == ID_TCB_REVOKED)
		return ID_TCB_REVOKED;
	if (part == ID_TCB_UP_TO_DATE)
		return platform;
	/*
	 * OutOfDate. Intel publishes nothing else for a module or a QE; if it ever does, the part counts as out of date
	 * rather than as nothing.
	 */
	switch (platform) {
	case ID_TCB_UP_TO_DATE:
	case ID_TCB_SW_HARDENING:
		return ID_TCB_OUT_OF_DATE;
	case ID_TCB_CONFIGURATION:
	case ID_TCB_CONFIGURATION_SW:
		return ID_TCB_OUT_OF_DATE_CONFIGURATION;
	default:
		return platform;
	}
}

static bool needs_configuration(enum id_tcb_status s)
{
	return s == ID_TCB_CONFIGURATION || s == ID_TCB_CONFIGURATION_SW || s == ID_TCB_OUT_OF_DATE_CONFIGURATION;
}

enum id_tcb_status id_tcb_relaunch(enum id_tcb_status launch, enum id_tcb_status current)
{
	bool was_old = launch == ID_TCB_OUT_OF_DATE || launch == ID_TCB_OUT_OF_DATE_CONFIGURATION;

	if (launch == ID_TCB_NOT_SUPPORTED || current == ID_TCB_NOT_SUPPORTED)
		return ID_TCB_NOT_SUPPORTED;
	if (was_old && current >= ID_TCB_UP_TO_DATE && current <= ID_TCB_CONFIGURATION_SW)
		return needs_configuration(launch) || needs_configuration(current) ? ID_TCB_RELAUNCH_CONFIGURATION
										   : ID_TCB_RELAUNCH;
	/* Intel lets the launch stand; what runs now may be the worse of the two, and then it counts */
	return current > launch ? current : launch;
}
