# The resource group, and what the other files share. Storage, identity, secrets, jobs and network have files of their own.

data "azurerm_client_config" "current" {}

locals {
  # With dashes where dashes are allowed, and without for storage accounts and registries.
  name  = "${var.name}-${var.environment}"
  plain = "${var.name}${var.environment}${var.suffix}"

  tags = merge(var.tags, {
    application = "limnograph"
    environment = var.environment
  })

  # Behind a firewall, public addresses reach nothing unless they are listed.
  is_private      = var.network != null
  is_publicly_met = !local.is_private || length(var.allowed_ips) > 0
}

resource "azurerm_resource_group" "this" {
  name     = "rg-${local.name}"
  location = var.location
  tags     = local.tags
}
