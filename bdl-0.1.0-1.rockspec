-- `luarocks make` in this folder builds the module for the Lua that is installed.
rockspec_format = "3.0"
package = "bdl"
version = "0.1.0-1"
source = {url = "git+file://."}
description = {
  summary = "A language runtime for models of brain dynamics",
  detailed = "Spiking networks, gradients, online learning and units; compiled from Lua into programs that run without it.",
  license = "MIT",
}
supported_platforms = {"linux"}
dependencies = {"lua >= 5.4, < 5.5"}
build = {type = "make", build_target = "module", install_target = "install-module", install_variables = {LUA_LIBDIR = "$(LIBDIR)"}}
