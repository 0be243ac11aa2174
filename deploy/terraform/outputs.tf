# What limno.toml and the commands in docs/azure.md need to know. No secret is among it.

output "resource_group" {
  description = "Name of the resource group."
  value       = azurerm_resource_group.this.name
}

output "storage_account" {
  description = "Name of the storage account."
  value       = azurerm_storage_account.lake.name
}

output "tables" {
  description = "What the URIs of tables begin with, by container."
  value = {
    for name, container in azurerm_storage_container.tables :
    name => "abfss://${container.name}@${azurerm_storage_account.lake.name}.dfs.core.windows.net/"
  }
}

output "output" {
  description = "What the output of a monitor begins with."
  value       = "abfss://${azurerm_storage_container.output.name}@${azurerm_storage_account.lake.name}.dfs.core.windows.net/"
}

output "client_id" {
  description = "Client id of the managed identity, for a [store] block with managed_identity = true."
  value       = azurerm_user_assigned_identity.limno.client_id
}

output "registry" {
  description = "Where the image is pushed."
  value       = azurerm_container_registry.this.login_server
}

output "vault" {
  description = "Name of the vault in which the secrets are set."
  value       = azurerm_key_vault.this.name
}

output "jobs" {
  description = "Names of the jobs, by what they do. Empty until an image is given."
  value       = { for name, job in azurerm_container_app_job.limno : name => job.name }
}
