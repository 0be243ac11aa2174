# Optional: a network of our own, in which the storage account and the vault have private addresses.

resource "azurerm_virtual_network" "this" {
  count = local.is_private ? 1 : 0

  name                = "vnet-${local.name}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  address_space       = [var.network.address_space]
  tags                = local.tags
}

# Jobs start here. Container Apps wants the subnet for itself.
resource "azurerm_subnet" "jobs" {
  count = local.is_private ? 1 : 0

  name                 = "jobs"
  resource_group_name  = azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.this[0].name
  address_prefixes     = [var.network.jobs_subnet]

  delegation {
    name = "container-apps"

    service_delegation {
      name    = "Microsoft.App/environments"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  count = local.is_private ? 1 : 0

  name                 = "endpoints"
  resource_group_name  = azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.this[0].name
  address_prefixes     = [var.network.endpoints_subnet]
}

locals {
  # Limno speaks the Blob API only. Engines that speak the other one (Databricks, Spark) need an endpoint for `dfs` too.
  endpoints = local.is_private ? {
    blob = {
      resource_id = azurerm_storage_account.lake.id
      subresource = "blob"
      zone        = "privatelink.blob.core.windows.net"
    }
    vault = {
      resource_id = azurerm_key_vault.this.id
      subresource = "vault"
      zone        = "privatelink.vaultcore.azure.net"
    }
  } : {}
}

resource "azurerm_private_dns_zone" "this" {
  for_each = local.endpoints

  name                = each.value.zone
  resource_group_name = azurerm_resource_group.this.name
  tags                = local.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "this" {
  for_each = local.endpoints

  name                  = each.key
  resource_group_name   = azurerm_resource_group.this.name
  private_dns_zone_name = azurerm_private_dns_zone.this[each.key].name
  virtual_network_id    = azurerm_virtual_network.this[0].id
  tags                  = local.tags
}

resource "azurerm_private_endpoint" "this" {
  for_each = local.endpoints

  name                = "pep-${local.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  subnet_id           = azurerm_subnet.endpoints[0].id
  tags                = local.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.resource_id
    subresource_names              = [each.value.subresource]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [azurerm_private_dns_zone.this[each.key].id]
  }

  # A name that is asked for before it is known stays unknown for a while.
  depends_on = [azurerm_private_dns_zone_virtual_network_link.this]
}
