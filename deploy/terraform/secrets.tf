# The vault. Its secrets are set by hand or by a pipeline (`az keyvault secret set`), so that no value of theirs goes through
# Terraform, its plans or its state. Jobs name them by address.

resource "azurerm_key_vault" "this" {
  name                = "kv-${local.plain}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags

  tenant_id = data.azurerm_client_config.current.tenant_id
  sku_name  = "standard"

  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  soft_delete_retention_days    = 30
  public_network_access_enabled = local.is_publicly_met

  dynamic "network_acls" {
    for_each = local.is_private ? [1] : []

    content {
      default_action = "Deny"
      bypass         = "AzureServices"
      ip_rules       = var.allowed_ips
    }
  }
}

locals {
  # Addresses without a version, so that a new one is taken by itself.
  job_secrets = {
    for variable, secret in var.secrets : variable => {
      name = secret
      id   = "${azurerm_key_vault.this.vault_uri}secrets/${secret}"
    }
  }
}
