/* SPDX-License-Identifier: Apache-2.0 */
#include "reader/reader.h"
