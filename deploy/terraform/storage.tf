# The lake: an account with a hierarchical namespace (ADLS Gen2), containers of tables, and the container of the metric tables.

resource "azurerm_storage_account" "lake" {
  name                = local.plain
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = var.replication
  is_hns_enabled           = true

  # Who may do what is decided by roles alone: a key opens everything to whoever holds it.
  shared_access_key_enabled       = var.shared_keys
  default_to_oauth_authentication = true
  allow_nested_items_to_be_public = false
  https_traffic_only_enabled      = true
  min_tls_version                 = "TLS1_2"
  public_network_access_enabled   = local.is_publicly_met

  blob_properties {
    delete_retention_policy {
      days = 7
    }

    container_delete_retention_policy {
      days = 7
    }
  }

  # Without an address there is nothing to let in: then all public access is off.
  dynamic "network_rules" {
    for_each = length(var.allowed_ips) > 0 ? [1] : []

    content {
      default_action = "Deny"
      bypass         = ["None"]
      ip_rules       = var.allowed_ips
    }
  }
}

# Through storage_account_id containers are made by the Resource Manager: no key and no way to the blob endpoint is needed.
resource "azurerm_storage_container" "tables" {
  for_each = var.table_containers

  name                  = each.key
  storage_account_id    = azurerm_storage_account.lake.id
  container_access_type = "private"
}

resource "azurerm_storage_container" "output" {
  name                  = var.output_container
  storage_account_id    = azurerm_storage_account.lake.id
  container_access_type = "private"
}

locals {
  containers_id = "${azurerm_storage_account.lake.id}/blobServices/default/containers"

  table_container_ids = {
    for name, container in azurerm_storage_container.tables : name => "${local.containers_id}/${container.name}"
  }

  output_container_id = "${local.containers_id}/${azurerm_storage_container.output.name}"
}
