# Who limno is, and what it may do: read tables, write metric tables, read its secrets, pull its image. Nothing else.

resource "azurerm_user_assigned_identity" "limno" {
  name                = "id-${local.name}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags
}

# Roles are granted on containers, never on the account: a role on the account would let the tables be written too.
resource "azurerm_role_assignment" "reads_tables" {
  for_each = local.table_container_ids

  scope                = each.value
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.limno.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "reads_other_tables" {
  for_each = var.readable_container_ids

  scope                = each.value
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.limno.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "writes_metrics" {
  scope                = local.output_container_id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.limno.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "reads_secrets" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.limno.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "pulls_image" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_user_assigned_identity.limno.principal_id
  principal_type       = "ServicePrincipal"
}

# People.
resource "azurerm_role_assignment" "metric_readers" {
  for_each = var.metric_readers

  scope                = local.output_container_id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = each.value
}

resource "azurerm_role_assignment" "secret_officers" {
  for_each = var.secret_officers

  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = each.value
}
